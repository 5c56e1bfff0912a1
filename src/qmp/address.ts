/** Where a QMP monitor listens: a unix socket, or TCP. */
export type QmpAddress = { readonly path: string } | { readonly host: string; readonly port: number };

/** The address as a person reads it: the path, or `host:port` (`[::1]:4444` for IPv6). */
export function formatQmpAddress(address: QmpAddress): string {
  if ('path' in address) return address.path;
  return `${address.host.includes(':') ? `[${address.host}]` : address.host}:${address.port}`;
}
