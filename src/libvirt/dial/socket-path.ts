import { existsSync } from 'node:fs';
import { homedir } from 'node:os';
import { join } from 'node:path';
import type { LibvirtUri } from '../uri.ts';

/** Where the daemons of root listen. */
const SYSTEM_FOLDER = '/run/libvirt';

/** The folder of a user's own daemons: `$XDG_RUNTIME_DIR/libvirt`, or `~/.cache/libvirt` where there is no such. */
function sessionFolder(env: NodeJS.ProcessEnv): string {
  const runtime = env['XDG_RUNTIME_DIR'];
  if (runtime !== undefined && runtime !== '') return join(runtime, 'libvirt');
  return join(env['XDG_CACHE_HOME'] ?? join(homedir(), '.cache'), 'libvirt');
}

/**
 * The socket that a local URI means, as libvirt chooses it: that of the driver's own daemon (`virtqemud-sock`) where it
 * is there, else that of libvirtd. `/session`, and the test driver, are served by the user's own daemon, unless the user
 * is root, whose daemon is the system's.
 */
export function socketPath(uri: LibvirtUri, uid: number, env: NodeJS.ProcessEnv = process.env): string {
  const given = uri.options.get('socket');
  if (given !== undefined) return given;
  const own = uid !== 0 && (uri.path === '/session' || uri.driver === 'test');
  const folder = own ? sessionFolder(env) : SYSTEM_FOLDER;
  const modular = join(folder, `virt${uri.driver}d-sock`);
  return uri.options.get('mode') !== 'legacy' && existsSync(modular) ? modular : join(folder, 'libvirt-sock');
}
