import { resolve } from 'node:path';
import type { QmpAddress } from '../qmp/index.ts';

/**
 * Reads `PATH` or `HOST:PORT` (`[::1]:4444`). What has a slash is a path, and so is what has no port; a relative path is
 * one of the current directory. `./name:1` names a socket file that looks like a host and port.
 */
export function parseQmpAddress(text: string, cwd: string): QmpAddress {
  const [, host, port] = /^(\[[^\]/]+\]|[^:/]+):(\d{1,5})$/.exec(text) ?? [];
  if (host === undefined || port === undefined || Number(port) > 65_535) return { path: resolve(cwd, text) };
  return { host: host.replace(/^\[|\]$/g, ''), port: Number(port) };
}
