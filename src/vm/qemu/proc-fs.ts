import { readdir, readFile, readlink, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { type KernelSocket, parseProcNetTcp, parseProcNetUnix } from './proc-net.ts';

/** One process, never mistaken for another one with the same number. */
export interface ProcessRef {
  readonly pid: number;
  /** When it started, in clock ticks since the host did: field 22 of /proc/PID/stat. */
  readonly startTime: string;
  /** The boot of the host that these ticks count from. */
  readonly bootId: string;
}

/** The first of `#stat`, as proc(5) counts them. */
const FIRST_FIELD = 3;

/** Looks into /proc. What has gone, or what this user may not see, is undefined. Tests give it a recorded folder. */
export class ProcFs {
  readonly #root: string;

  constructor(root = '/proc') {
    this.#root = root;
  }

  async pids(): Promise<readonly number[]> {
    const names = await readdir(this.#root);
    return names.filter((name) => /^\d+$/.test(name)).map(Number);
  }

  /** The arguments; an empty list for a kernel thread, a process that has gone, or one that is hidden. */
  async argv(pid: number): Promise<readonly string[]> {
    const text = await this.#read(pid, 'cmdline');
    return text === undefined || text === '' ? [] : text.replace(/\0$/, '').split('\0');
  }

  async startTime(pid: number): Promise<string | undefined> {
    return (await this.#stat(pid))?.[22 - FIRST_FIELD];
  }

  async bootId(): Promise<string> {
    return (await readFile(join(this.#root, 'sys/kernel/random/boot_id'), 'utf8')).trim();
  }

  /** The effective user id. */
  async uid(pid: number): Promise<number | undefined> {
    const uid = /^Uid:\s+\d+\s+(\d+)/m.exec((await this.#read(pid, 'status')) ?? '')?.[1];
    return uid === undefined ? undefined : Number(uid);
  }

  /** Where `exe` or `cwd` points. */
  async link(pid: number, name: 'exe' | 'cwd'): Promise<string | undefined> {
    return await absent(readlink(this.#path(pid, name)));
  }

  /** What each descriptor points to (a path, `socket:[N]`, …), by its number. */
  async descriptors(pid: number): Promise<ReadonlyMap<number, string> | undefined> {
    const numbers = await absent(readdir(this.#path(pid, 'fd')));
    if (numbers === undefined) return undefined;
    const links = await Promise.all(
      numbers.map(async (fd) => [Number(fd), await absent(readlink(this.#path(pid, `fd/${fd}`)))] as const),
    );
    return new Map(links.flatMap(([fd, target]) => (target === undefined ? [] : [[fd, target] as const])));
  }

  /** Device and inode of the file that a descriptor has open, where it is a regular file or a block device. */
  async openFile(pid: number, fd: number): Promise<{ readonly dev: string; readonly ino: string } | undefined> {
    const info = await absent(stat(this.#path(pid, `fd/${fd}`), { bigint: true }));
    if (!info?.isFile() && !info?.isBlockDevice()) return undefined;
    return { dev: info.dev.toString(), ino: info.ino.toString() };
  }

  /** The sockets of the network namespace that the process is in. */
  async sockets(pid: number | 'self'): Promise<readonly KernelSocket[]> {
    const [unix = '', tcp = '', tcp6 = ''] = await Promise.all(
      ['net/unix', 'net/tcp', 'net/tcp6'].map(async (name) => await this.#read(pid, name)),
    );
    return [...parseProcNetUnix(unix), ...parseProcNetTcp(tcp), ...parseProcNetTcp(tcp6)];
  }

  /**
   * The process as it is now, or undefined when it has ended. That is so as well when nobody has asked for its exit status yet,
   * which a parent that hangs, or the init of a container, may never do: it has no files open any more.
   */
  async ref(pid: number): Promise<ProcessRef | undefined> {
    const fields = await this.#stat(pid);
    const [state, threads, startTime] = [3, 20, 22].map((field) => fields?.[field - FIRST_FIELD]);
    // The others may go on with its files when the first thread has ended.
    const ended = (state === 'Z' || state === 'X') && Number(threads) <= 1;
    return startTime === undefined || ended ? undefined : { pid, startTime, bootId: await this.bootId() };
  }

  /** /proc/PID/stat from its third field on. The second, the program's name in parentheses, may hold spaces and parentheses. */
  async #stat(pid: number): Promise<readonly string[] | undefined> {
    const text = await this.#read(pid, 'stat');
    return text?.slice(text.lastIndexOf(')') + 2).split(' ');
  }

  async #read(pid: number | 'self', name: string): Promise<string | undefined> {
    return await absent(readFile(this.#path(pid, name), 'utf8'));
  }

  #path(pid: number | 'self', name: string): string {
    return join(this.#root, String(pid), name);
  }
}

/** Any error of /proc means that there is nothing to see: the process has gone, or may not be looked into. */
async function absent<T>(look: Promise<T>): Promise<T | undefined> {
  try {
    return await look;
  } catch {
    return undefined;
  }
}

/** The inodes of the sockets among a process' descriptors. */
export function socketInodes(descriptors: ReadonlyMap<number, string>): ReadonlySet<number> {
  const inodes = new Set<number>();
  for (const target of descriptors.values()) {
    const inode = socketInode(target);
    if (inode !== undefined) inodes.add(inode);
  }
  return inodes;
}

/** The number in `socket:[N]`. */
export function socketInode(target: string | undefined): number | undefined {
  const inode = /^socket:\[(\d+)\]$/.exec(target ?? '')?.[1];
  return inode === undefined ? undefined : Number(inode);
}
