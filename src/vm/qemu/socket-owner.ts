import { lookup } from 'node:dns/promises';
import { stat } from 'node:fs/promises';
import { networkInterfaces } from 'node:os';
import { basename, resolve } from 'node:path';
import type { QmpAddress } from '../../qmp/index.ts';
import { ProcFs, type ProcessRef, socketInodes } from './proc-fs.ts';
import type { KernelSocket } from './proc-net.ts';

/**
 * The process of this host that listens on a monitor's socket. Undefined where there is none, where it is on another
 * host, or where this user may not look into it.
 */
export async function processOfSocket(address: QmpAddress): Promise<ProcessRef | undefined> {
  const proc = new ProcFs();
  const listening = (await proc.sockets('self')).filter((socket) => socket.listening);
  const candidates = 'path' in address ? namedLike(address.path, listening) : await onPort(address, listening);
  if (candidates.length === 0) return undefined;
  const owners = await ownersOf(proc, new Set(candidates.map((socket) => socket.inode)));
  const found: ProcessRef[] = [];
  for (const { inode, path } of candidates) {
    const pid = owners.get(inode);
    if (pid === undefined) continue;
    if ('path' in address && !(await isSameFile(proc, pid, path ?? '', address.path))) continue;
    const ref = await proc.ref(pid);
    if (ref) found.push(ref);
  }
  // QEMU removes a socket file that is in its way and binds the name anew; the process that came last is the one there.
  return found.toSorted((a, b) => Number(b.startTime) - Number(a.startTime))[0];
}

/** The kernel keeps the name that was bound, perhaps relative; so only the last part of a path can be compared first. */
function namedLike(path: string, sockets: readonly KernelSocket[]): readonly KernelSocket[] {
  return sockets.filter((socket) => socket.path !== undefined && basename(socket.path) === basename(path));
}

async function onPort(
  { host, port }: { readonly host: string; readonly port: number },
  sockets: readonly KernelSocket[],
): Promise<readonly KernelSocket[]> {
  const mine = new Set(Object.values(networkInterfaces()).flatMap((all) => (all ?? []).map(({ address }) => address)));
  const found = await lookup(host, { all: true }).catch(() => []);
  const local = found
    .map(({ address }) => address)
    .filter((address) => mine.has(address) || address.startsWith('127.'));
  const takes = (bound: string): boolean => local.includes(bound) || bound === '0.0.0.0' || bound === '::';
  return local.length === 0 ? [] : sockets.filter((socket) => socket.port === port && takes(socket.host ?? ''));
}

/** Which process has each of these sockets: the first one, where a child of it inherited the socket. */
async function ownersOf(proc: ProcFs, inodes: ReadonlySet<number>): Promise<ReadonlyMap<number, number>> {
  const owners = new Map<number, number>();
  for (const pid of (await proc.pids()).toSorted((a, b) => a - b)) {
    for (const inode of socketInodes((await proc.descriptors(pid)) ?? new Map())) {
      if (inodes.has(inode) && !owners.has(inode)) owners.set(inode, pid);
    }
  }
  return owners;
}

async function isSameFile(proc: ProcFs, pid: number, bound: string, path: string): Promise<boolean> {
  const cwd = (await proc.link(pid, 'cwd')) ?? '/';
  try {
    const [one, other] = await Promise.all([stat(resolve(cwd, bound)), stat(path)]);
    return one.dev === other.dev && one.ino === other.ino;
  } catch {
    return false;
  }
}

/** A file that a process has open. */
export interface OpenFile {
  /** `st_dev` and `st_ino`, in decimal: both have 64 bits. */
  readonly dev: string;
  readonly ino: string;
  /** Where it was when it was opened, as the kernel tells it; ` (deleted)` follows where it has gone. */
  readonly path: string;
}

/**
 * The regular files and block devices that a process has open, each descriptor once. Undefined where this user may not
 * know, or the process has gone.
 */
export async function openFilesOf(pid: number): Promise<readonly OpenFile[] | undefined> {
  const proc = new ProcFs();
  const descriptors = await proc.descriptors(pid);
  if (descriptors === undefined) return undefined;
  const files: OpenFile[] = [];
  for (const [fd, path] of descriptors) {
    if (!path.startsWith('/')) continue;
    const file = await proc.openFile(pid, fd);
    if (file) files.push({ ...file, path });
  }
  return files;
}
