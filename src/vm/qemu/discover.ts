/**
 * Finds the QEMU system emulators of this host and their monitors.
 *
 * The command line says which sockets speak QMP; the kernel says which sockets the process really listens on, by which
 * name they were bound and whether somebody is connected. Relative names are those of the process' working directory.
 */
import { readFile } from 'node:fs/promises';
import { resolve } from 'node:path';
import type { QmpAddress } from '../../qmp/index.ts';
import { type DeclaredMonitor, isQemu, parseStartOptions } from './monitor-options.ts';
import { ProcFs, socketInode, socketInodes } from './proc-fs.ts';
import type { KernelSocket } from './proc-net.ts';

export { type ProcessRef } from './proc-fs.ts';
export { type OpenFile, openFilesOf, processOfSocket } from './socket-owner.ts';

/** A QMP server socket of a VM. It can be given to `QmpClient.connect` as it is. */
export type DiscoveredSocket = QmpAddress & {
  /** libvirt made this one for itself and keeps it; it serves nobody else. */
  readonly heldBy?: 'libvirt';
  /** Whether a client is connected now. QEMU serves one at a time. Undefined where this user may not know. */
  readonly inUse?: boolean;
};

export interface DiscoveredVm {
  readonly pid: number;
  /** Clock ticks from the start of the host to that of the process: with `pid`, unique until the host restarts. */
  readonly startTime: string;
  /** From `-name`; undefined where it has none. */
  readonly name: string | undefined;
  /** From `-uuid`, lower case; undefined where it has none. */
  readonly uuid: string | undefined;
  readonly qmp: readonly DiscoveredSocket[];
  readonly managedBy: 'libvirt' | undefined;
  /** The name of the user that it runs as, or the number where it has no name. */
  readonly user: string;
  readonly cwd: string | undefined;
  /** Whether this user may look into the process. Where not, `qmp` is what the command line says and no more. */
  readonly readable: boolean;
  /** Why it is not readable. */
  readonly whyNot?: string;
}

/** All QEMU system emulators of this host, by pid. A VM that ends meanwhile is left out. */
export async function discoverQemu(proc: ProcFs = new ProcFs()): Promise<readonly DiscoveredVm[]> {
  const found: DiscoveredVm[] = [];
  for (const pid of await proc.pids()) {
    const argv = await proc.argv(pid);
    if (argv.length === 0 || !isQemu(await proc.link(pid, 'exe'), argv)) continue;
    const vm = await lookAt(proc, pid, argv);
    if (vm) found.push(vm);
  }
  return found.toSorted((a, b) => a.pid - b.pid);
}

async function lookAt(proc: ProcFs, pid: number, argv: readonly string[]): Promise<DiscoveredVm | undefined> {
  const options = parseStartOptions(argv);
  const [startTime, uid, cwd, descriptors, all] = await Promise.all([
    proc.startTime(pid),
    proc.uid(pid),
    proc.link(pid, 'cwd'),
    proc.descriptors(pid),
    proc.sockets(pid),
  ]);
  if (startTime === undefined || uid === undefined) return undefined;
  const user = await userName(uid);
  const own = descriptors && new OwnSockets(descriptors, all);
  const qmp = options.monitors.flatMap((monitor): DiscoveredSocket[] => {
    const socket = own ? own.find(monitor, cwd) : asDeclared(monitor, cwd);
    return socket ? [isLibvirts(monitor, socket) ? { ...socket, heldBy: 'libvirt' as const } : socket] : [];
  });
  // Its descriptor is all that libvirt's command line says of the socket, so where that cannot be followed, count it.
  const libvirt = qmp.some((socket) => socket.heldBy) || options.monitors.some(isLibvirtsDescriptor);
  return {
    pid,
    startTime,
    name: options.name,
    uuid: options.uuid,
    qmp,
    managedBy: libvirt ? 'libvirt' : undefined,
    user,
    cwd,
    readable: own !== undefined,
    ...(own ? {} : { whyNot: `it belongs to ${user}, and this user may not look into it` }),
  };
}

/** The sockets that one process has, as the kernel lists them. */
class OwnSockets {
  readonly #descriptors: ReadonlyMap<number, string>;
  readonly #sockets: readonly KernelSocket[];

  constructor(descriptors: ReadonlyMap<number, string>, all: readonly KernelSocket[]) {
    this.#descriptors = descriptors;
    const inodes = socketInodes(descriptors);
    this.#sockets = all.filter((socket) => inodes.has(socket.inode));
  }

  /** The socket of a declared monitor, where the process does listen on it. */
  find({ socket: declared }: DeclaredMonitor, cwd: string | undefined): DiscoveredSocket | undefined {
    const listening = this.#sockets.find((socket) => {
      if (!socket.listening) return false;
      switch (declared.kind) {
        case 'unix':
          return socket.path === declared.path;
        case 'tcp':
          return socket.port === declared.port;
        default:
          return socket.inode === socketInode(this.#descriptors.get(declared.fd));
      }
    });
    const address = listening && addressOf(listening, cwd);
    return address && { ...address, inUse: this.#sockets.some((socket) => isClientOf(socket, listening)) };
  }
}

/** A connection that was accepted has the name, or the port, of the socket that accepted it. */
function isClientOf(socket: KernelSocket, listening: KernelSocket): boolean {
  return !socket.listening && socket.path === listening.path && socket.port === listening.port;
}

function addressOf({ path, host, port }: KernelSocket, cwd: string | undefined): QmpAddress | undefined {
  if (path !== undefined) {
    return path.startsWith('/') || cwd !== undefined ? { path: resolve(cwd ?? '/', path) } : undefined;
  }
  return host === undefined || port === undefined ? undefined : { host: reachable(host), port };
}

/** What to connect to where the socket takes any address. */
function reachable(host: string): string {
  if (host === '' || host === '0.0.0.0') return '127.0.0.1';
  return host === '::' ? '::1' : host;
}

function asDeclared({ socket }: DeclaredMonitor, cwd: string | undefined): QmpAddress | undefined {
  switch (socket.kind) {
    case 'unix':
      return addressOf({ inode: 0, listening: true, path: socket.path }, cwd);
    case 'tcp':
      return { host: reachable(socket.host), port: socket.port };
    default:
      return undefined;
  }
}

/** libvirt's chardev for its monitor has this id; before libvirt 5 it was given by a path in libvirt's own folder. */
function isLibvirts(monitor: DeclaredMonitor, address: QmpAddress): boolean {
  if (monitor.chardev !== 'charmonitor') return false;
  return isLibvirtsDescriptor(monitor) || ('path' in address && /\/libvirt\/qemu\//.test(address.path));
}

function isLibvirtsDescriptor({ chardev, socket }: DeclaredMonitor): boolean {
  return chardev === 'charmonitor' && socket.kind === 'fd';
}

async function userName(uid: number): Promise<string> {
  const passwd = await readFile('/etc/passwd', 'utf8').catch(() => '');
  const line = passwd.split('\n').find((entry) => entry.split(':')[2] === String(uid));
  return line?.split(':')[0] ?? String(uid);
}
