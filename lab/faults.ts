import { type ChildProcess, spawn } from 'node:child_process';
import { closeSync, openSync, writeSync } from 'node:fs';
import { mkdir, mkdtemp, readFile, rm, truncate, writeFile } from 'node:fs/promises';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { run } from '../src/base/index.ts';
import { findProgram, LabError } from './requires.ts';

const POLL_MS = 5;

export interface FaultyDiskOptions {
  /** The file that holds the data; absent: memory, `size` bytes. */
  readonly file?: string;
  readonly size?: number;
  /** With it, requests fail while `setError(true)` holds, with this error. */
  readonly error?: 'EIO' | 'ENOSPC' | 'EPERM' | 'ESHUTDOWN';
  /** Which requests fail. Default: writes, zeroing and trimming, as on a target that cannot be written. */
  readonly failing?: 'reads' | 'writes' | 'all';
  /** Milliseconds that every read and every write is delayed. */
  readonly delayMs?: number;
  /** Bytes per second in each direction. */
  readonly rate?: number;
}

/**
 * A disk with faults that can be switched on and off: nbdkit with its filters, on a unix socket. Open it in QEMU with
 * `{driver: 'nbd', server: {type: 'unix', path: disk.socket}}`.
 */
export class FaultyDisk implements AsyncDisposable {
  readonly socket: string;
  readonly #child: ChildProcess;
  readonly #directory: string;
  readonly #pauseSocket: string;
  readonly #errorFile: string;
  readonly #exited: Promise<void>;
  #ended = false;
  #stderr = '';

  private constructor(child: ChildProcess, directory: string) {
    this.#child = child;
    this.#directory = directory;
    this.socket = join(directory, 'nbd.sock');
    this.#pauseSocket = join(directory, 'pause.sock');
    this.#errorFile = join(directory, 'error');
    child.stderr?.setEncoding('utf8').on('data', (text: string) => {
      this.#stderr = (this.#stderr + text).slice(-4096);
    });
    this.#exited = new Promise((resolve) => {
      const end = (): void => {
        this.#ended = true;
        resolve();
      };
      child.once('error', end).once('close', end);
    });
  }

  /** Starts the server and waits until it listens. It dies with the process that started it. */
  static async start(options: FaultyDiskOptions): Promise<FaultyDisk> {
    const directory = await mkdtemp(join(tmpdir(), 'faults-'));
    const path = (name: string): string => join(directory, name);
    const filters = ['pause'];
    const settings = [`pause-control=${path('pause.sock')}`];
    if (options.error !== undefined) {
      filters.push('error');
      const kinds = { reads: ['pread'], writes: ['pwrite', 'zero', 'trim'], all: [''] }[options.failing ?? 'writes'];
      settings.push(`error=${options.error}`);
      for (const kind of kinds) {
        const prefix = kind === '' ? 'error' : `error-${kind}`;
        settings.push(`${prefix}-rate=100%`, `${prefix}-file=${path('error')}`);
      }
    }
    if (options.delayMs !== undefined) {
      filters.push('delay');
      settings.push(`rdelay=${options.delayMs}ms`, `wdelay=${options.delayMs}ms`);
    }
    if (options.rate !== undefined) {
      filters.push('rate');
      // nbdkit counts bits, and lets two seconds' worth pass at once where it is not told otherwise.
      settings.push(`rate=${options.rate * 8}`, 'burstiness=0.1');
    }
    const plugin =
      options.file === undefined ? ['memory', `size=${options.size ?? 0}`] : ['file', `file=${options.file}`];
    const child = spawn(
      'setpriv',
      [
        '--pdeathsig=KILL',
        '--',
        'nbdkit',
        '--foreground',
        `--unix=${path('nbd.sock')}`,
        `--pidfile=${path('pid')}`,
        ...filters.map((filter) => `--filter=${filter}`),
        ...plugin,
        ...settings,
      ],
      { stdio: ['ignore', 'ignore', 'pipe'] },
    );
    const disk = new FaultyDisk(child, directory);
    while ((await readFile(path('pid'), 'utf8').catch(() => '')).trim() === '') {
      if (disk.#ended) {
        await rm(directory, { recursive: true, force: true });
        throw new LabError(`nbdkit did not start: ${disk.#stderr.trim()}`);
      }
      await sleep(POLL_MS);
    }
    return disk;
  }

  get pid(): number {
    return this.#child.pid as number;
  }

  /** Whether requests fail from now on. Only for a disk with `error`. */
  async setError(failing: boolean): Promise<void> {
    if (failing) await writeFile(this.#errorFile, '');
    else await rm(this.#errorFile, { force: true });
  }

  /** Holds all requests that come from now on, after those in flight, until `resume`: a hung storage. */
  async pause(): Promise<void> {
    await this.#control('p', 'P');
  }

  async resume(): Promise<void> {
    await this.#control('r', 'R');
  }

  /** Ends the server, as the death of a storage. */
  async kill(): Promise<void> {
    if (!this.#ended) this.#child.kill('SIGKILL');
    await this.#exited;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.kill();
    await rm(this.#directory, { recursive: true, force: true });
  }

  #control(command: string, answer: string): Promise<void> {
    return new Promise((resolve, reject) => {
      const socket = connect(this.#pauseSocket);
      socket.on('data', (data) => {
        socket.end();
        if (data.toString().startsWith(answer)) resolve();
        else reject(new LabError(`nbdkit answered '${data.toString()}' to '${command}'`));
      });
      socket.on('error', reject);
      socket.on('close', () => reject(new LabError('nbdkit closed its control socket')));
      socket.write(command);
    });
  }
}

/** A file system of its own, small enough to fill. */
export interface SmallFilesystem extends AsyncDisposable {
  /** Where it is mounted. */
  readonly path: string;
  /** Writes a file that takes all the space there is, until it is removed with `makeRoom`. */
  fill(): Promise<void>;
  makeRoom(): Promise<void>;
}

/** Why no file system can be mounted here, or undefined where it can. Not root, or a container without the right. */
export async function whyNoMount(): Promise<string | undefined> {
  if (process.getuid?.() !== 0) return 'mounting a file system needs root';
  if (findProgram('mkfs.ext4') === undefined) return 'mkfs.ext4 (package e2fsprogs) is not installed';
  try {
    await using small = await smallFilesystem({ size: 8 * 2 ** 20 });
    await writeFile(join(small.path, 'probe'), 'x');
    return undefined;
  } catch (error) {
    return `no file system can be mounted here: ${String(error)}`;
  }
}

/**
 * Mounts an ext4 of so many bytes from a file. Root only: ask `whyNoMount` first.
 */
export async function smallFilesystem(options: { readonly size: number }): Promise<SmallFilesystem> {
  const directory = await mkdtemp(join(tmpdir(), 'small-fs-'));
  const image = join(directory, 'image');
  const path = join(directory, 'mount');
  const ballast = join(path, 'ballast');
  const remove = (): Promise<void> => rm(directory, { recursive: true, force: true });
  try {
    await mkdir(path);
    await writeFile(image, '');
    await truncate(image, options.size);
    await run('mkfs.ext4', ['-q', '-F', '-m', '0', image]);
    await run('mount', ['-o', 'loop', image, path]);
  } catch (error) {
    await remove();
    throw error;
  }
  return {
    path,
    fill: async () => {
      const file = openSync(ballast, 'w');
      try {
        for (let size = 2 ** 20; size >= 512; size /= 2) writeUntilFull(file, Buffer.alloc(size, 0xff));
      } finally {
        closeSync(file);
      }
      await run('sync', ['-f', path]);
    },
    makeRoom: async () => {
      await rm(ballast, { force: true });
      await run('sync', ['-f', path]);
    },
    [Symbol.asyncDispose]: async () => {
      await run('umount', [path]);
      await remove();
    },
  };
}

function writeUntilFull(file: number, data: Buffer): void {
  try {
    for (;;) writeSync(file, data);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOSPC') throw error;
  }
}

/** A file system whose storage can fail. */
export interface FailingFilesystem extends AsyncDisposable {
  /** Where it is mounted. */
  readonly path: string;
  /** From now on, what was never written before cannot be: the kernel gets I/O errors, fsync says EIO. */
  breakDown(): Promise<void>;
  /** The storage can be written again. */
  repair(): Promise<void>;
}

/**
 * Mounts an ext4 without a journal, sparse in a tmpfs that can be filled: then the blocks of files fail, and what was
 * written before, such as folders and inodes, works on. Root only: ask `whyNoMount` first.
 */
export async function failingFilesystem(options: { readonly size: number }): Promise<FailingFilesystem> {
  const directory = await mkdtemp(join(tmpdir(), 'failing-fs-'));
  const [store, path] = [join(directory, 'store'), join(directory, 'mount')];
  const image = join(store, 'image');
  const ballast = join(store, 'ballast');
  await mkdir(store);
  await mkdir(path);
  await run('mount', ['-t', 'tmpfs', '-o', `size=${options.size}`, 'failing', store]);
  const unmount = async (): Promise<void> => {
    await run('umount', [store]);
    await rm(directory, { recursive: true, force: true });
  };
  try {
    await writeFile(image, '');
    await truncate(image, options.size * 2);
    await run('mkfs.ext4', ['-q', '-F', '-m', '0', '-O', '^has_journal', '-E', 'lazy_itable_init=0', image]);
    await run('mount', ['-o', 'loop', image, path]);
  } catch (error) {
    await unmount();
    throw error;
  }
  return {
    path,
    breakDown: async () => {
      await run('sync', ['-f', path]);
      const file = openSync(ballast, 'w');
      try {
        for (let size = 2 ** 20; size >= 4096; size /= 2) writeUntilFull(file, Buffer.alloc(size, 0xff));
      } finally {
        closeSync(file);
      }
    },
    repair: () => rm(ballast, { force: true }),
    [Symbol.asyncDispose]: async () => {
      await rm(ballast, { force: true });
      await run('umount', [path]);
      await unmount();
    },
  };
}
