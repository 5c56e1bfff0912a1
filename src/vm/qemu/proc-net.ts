/** A socket as the kernel lists it in /proc/net. */
export interface KernelSocket {
  /** The number in `socket:[N]` of a process' descriptors. */
  readonly inode: number;
  readonly listening: boolean;
  /** A unix socket: the name that it was bound to, as it was given then, perhaps relative. */
  readonly path?: string;
  /** A TCP socket: its own address (`0.0.0.0` and `::` are any) and port. */
  readonly host?: string;
  readonly port?: number;
}

/** The flag __SO_ACCEPTCON of a socket that listens. */
const ACCEPTS = 0x10000;

/** Reads /proc/net/unix: `Num RefCount Protocol Flags Type St Inode Path`. Sockets without a name are left out. */
export function parseProcNetUnix(text: string): readonly KernelSocket[] {
  const sockets: KernelSocket[] = [];
  for (const line of text.split('\n').slice(1)) {
    const match = /^\S+: \S+ \S+ ([0-9A-Fa-f]+) \S+ \S+ +(\d+) (.+)$/.exec(line);
    if (!match) continue;
    const [, flags = '', inode, path = ''] = match;
    const listening = (Number.parseInt(flags, 16) & ACCEPTS) !== 0;
    sockets.push({ inode: Number(inode), listening, path });
  }
  return sockets;
}

/** Reads /proc/net/tcp or tcp6. State 0A listens, 01 is connected; others are left out. */
export function parseProcNetTcp(text: string): readonly KernelSocket[] {
  const sockets: KernelSocket[] = [];
  for (const line of text.split('\n').slice(1)) {
    const [, local = '', , state, , , , , , inode] = line.trim().split(/\s+/);
    const [host = '', port = ''] = local.split(':');
    if (state !== '0A' && state !== '01') continue;
    sockets.push({
      inode: Number(inode),
      listening: state === '0A',
      host: kernelAddress(host),
      port: Number.parseInt(port, 16),
    });
  }
  return sockets;
}

/** An address as the kernel prints it: 32-bit words in the byte order of the machine, here little-endian. */
function kernelAddress(hex: string): string {
  const bytes: number[] = [];
  for (let word = 0; word < hex.length; word += 8) {
    for (let byte = 6; byte >= 0; byte -= 2) bytes.push(Number.parseInt(hex.slice(word + byte, word + byte + 2), 16));
  }
  if (bytes.length === 4) return bytes.join('.');
  const mapped = bytes.slice(0, 10).every((byte) => byte === 0) && bytes[10] === 255 && bytes[11] === 255;
  if (mapped) return bytes.slice(12).join('.');
  const groups = Array.from({ length: 8 }, (_, at) => ((bytes[2 * at] ?? 0) << 8) | (bytes[2 * at + 1] ?? 0));
  return new URL(`http://[${groups.map((group) => group.toString(16)).join(':')}]`).hostname.slice(1, -1);
}
