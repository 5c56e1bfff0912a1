import { spawn } from 'node:child_process';
import { mkdir, mkdtemp, rm, stat, truncate, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { messageOf, run } from '../src/base/index.ts';
import { FaultyDisk, type FaultyDiskOptions } from './faults.ts';
import { findProgram } from './requires.ts';

const POLL_MS = 10;
const BUSY_TRIES = 1000;

/** A file system whose storage can stop answering, neither with data nor with an error; or can fail, or is slow. */
export interface HangingFilesystem extends AsyncDisposable {
  /** Where it is mounted. */
  readonly path: string;
  /** From now on whatever needs the storage hangs, in a sleep of the kernel that no signal ends. */
  hang(): Promise<void>;
  /** The storage answers again, also what was asked for meanwhile. */
  answer(): Promise<void>;
  /** Whether the storage fails from now on. Only for one that was made with `error`. */
  fail(failing: boolean): Promise<void>;
}

export interface HangingFilesystemOptions extends Omit<FaultyDiskOptions, 'file' | 'size'> {
  /** Bytes of the storage. */
  readonly size: number;
}

/** Why no storage can be made to hang here; undefined where one can. */
export async function whyNoHang(): Promise<string | undefined> {
  if (process.getuid?.() !== 0) return 'mounting a file system needs root';
  const missing = ['mkfs.ext4', 'nbdkit', 'nbdfuse', 'losetup'].find((program) => findProgram(program) === undefined);
  if (missing !== undefined) return `${missing} is not installed`;
  try {
    await using _ = await hangingFilesystem({ size: 8 * 2 ** 20 });
    return undefined;
  } catch (error) {
    return `no file system can be mounted here: ${messageOf(error)}`;
  }
}

/**
 * Mounts an ext4 whose storage is a loop device on a FUSE file of an NBD server that can be paused: to the kernel, a disk
 * that is there and says nothing. The page cache is passed by below the file system, so that only what the file system itself
 * has in memory is answered while it hangs. Root only: ask `whyNoHang` first.
 */
export async function hangingFilesystem(options: HangingFilesystemOptions): Promise<HangingFilesystem> {
  const { size, ...faults } = options;
  const directory = await mkdtemp(join(tmpdir(), 'hanging-fs-'));
  await using undo = new AsyncDisposableStack();
  undo.defer(() => rm(directory, { recursive: true, force: true }));
  const [image, disk, path] = [join(directory, 'image'), join(directory, 'disk'), join(directory, 'mount')];
  await writeFile(image, '');
  await truncate(image, size);
  const server = undo.use(await FaultyDisk.start({ ...faults, file: image }));
  await writeFile(disk, '');
  const fuse = spawn('setpriv', ['--pdeathsig=KILL', '--', 'nbdfuse', disk, `nbd+unix:///?socket=${server.socket}`], {
    stdio: 'ignore',
  });
  undo.defer(() => unmount(disk));
  while ((await stat(disk)).size !== size) {
    if (fuse.exitCode !== null) throw new Error(`nbdfuse ended with status ${fuse.exitCode}`);
    await sleep(POLL_MS);
  }
  const { stdout } = await run('losetup', ['--find', '--show', '--direct-io=on', disk]);
  const device = stdout.trim();
  undo.defer(async () => void (await run('losetup', ['-d', device])));
  await run('mkfs.ext4', ['-q', '-F', '-m', '0', device]);
  await mkdir(path);
  await run('mount', [device, path]);
  undo.defer(() => unmount(path));
  // What hangs has to come to its end before anything can be unmounted.
  undo.defer(() => server.resume());
  const kept = undo.move();
  return {
    path,
    hang: () => server.pause(),
    answer: () => server.resume(),
    fail: (failing) => server.setError(failing),
    [Symbol.asyncDispose]: () => kept.disposeAsync(),
  };
}

/** Unmounts, as soon as what still uses it has come to its end; by force after a while, so that nothing waits forever. */
async function unmount(path: string): Promise<void> {
  for (let tries = 0; tries < BUSY_TRIES; tries += 1) {
    const { status } = await run('umount', [path], { accept: [0, 1, 32] });
    if (status === 0) return;
    await sleep(POLL_MS);
  }
  await run('umount', ['--lazy', path]);
}
