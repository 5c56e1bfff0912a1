import { constants } from 'node:fs';
import { copyFile, open, rm, stat, truncate } from 'node:fs/promises';
import { dirname } from 'node:path';
import { errnoOf, ferryError, isFerryError, messageOf, Semaphore } from '../base/index.ts';
import { isQmpConnectionLost } from '../qmp/index.ts';
import { CopyControl } from './copy-control.ts';
import { sameFile } from './file-identity.ts';
import { openersOf } from './file-openers.ts';
import type { ImageInfo, Owner } from './image-info.ts';
import { mirrorCopy } from './mirror-copy.ts';
import { createFile, setOwner } from './new-file.ts';
import { probeImage } from './probe.ts';
import { readAt } from './qcow2-header.ts';
import { StorageDaemon } from './storage-daemon.ts';
import { syncFile, syncFolder } from './sync.ts';

export interface CopyRequest {
  /** An image that nobody writes to: one below a snapshot, or of a VM that is off. */
  readonly source: Pick<ImageInfo, 'path'>;
  /** Absolute path of the copy. */
  readonly target: string;
  readonly owner: Owner;
  /** The target may exist: it is what an interrupted copy of ours left, and is made anew. Default false. */
  readonly replace?: boolean;
  /**
   * Processes that may have the source open for writing because they promised not to: QEMU keeps the descriptor of an
   * image that a snapshot froze as it was (seen with `-blockdev`).
   */
  readonly frozenBy?: readonly number[];
}

export interface CopyProgress {
  readonly source: string;
  readonly target: string;
  /** Bytes of the file that are done. Holes count, are passed at once and use up no speed. */
  readonly copied: number;
  /** Bytes of the file. It grows at first, while the job still looks the file through. */
  readonly total: number;
}

export interface CopyOptions {
  readonly control?: CopyControl;
  readonly onProgress?: (progress: CopyProgress) => void;
  /** Stops the copy. Rejects with its reason, and nothing that was made remains. */
  readonly signal?: AbortSignal;
  /** How many images are copied side by side. Default 4. */
  readonly concurrency?: number;
}

export interface CopyResult {
  readonly source: string;
  readonly target: string;
  /** `reflink`: the file system shares the blocks, nothing was read or written. */
  readonly method: 'reflink' | 'mirror';
  /** Bytes of the file that were gone through, holes included; 0 for a reflink. */
  readonly copied: number;
}

/**
 * Copies immutable images byte for byte: qcow2 internals, snapshots and bitmaps stay as they are. Holes are kept, blocks
 * are shared where the file system can, and each copy is on the storage (file and name) when this returns. One
 * qemu-storage-daemon moves the bytes of all of them.
 *
 * When it fails, every file that it made is removed, also those that were complete.
 * @throws FerryError TARGET_EXISTS, TARGET_REFUSED, IMAGE_OWNER, IMAGE_IN_USE (something has a source open for writing),
 *   SOURCE_CHANGED, COPY_FAILED, TOOL_MISSING; the signal's reason
 */
export async function copyImages(
  requests: readonly CopyRequest[],
  options: CopyOptions = {},
): Promise<readonly CopyResult[]> {
  const group = new AbortController();
  const signal = options.signal ? AbortSignal.any([options.signal, group.signal]) : group.signal;
  const made = new Set<string>();
  const turn = new Semaphore(options.concurrency ?? 4);
  let starting: Promise<StorageDaemon> | undefined;
  const daemon = async (): Promise<StorageDaemon> => await (starting ??= StorageDaemon.start(signal));
  const context: Context = { daemon, control: options.control ?? new CopyControl(), made, signal };
  const copies = requests.map(async (request, index) => {
    try {
      return await turn.run(async () => await copyOne(request, `copy${index}`, context, options.onProgress));
    } catch (error) {
      // The first error is the one that is told; the others are stopped by it.
      group.abort(error);
      throw error;
    }
  });
  const outcomes = await Promise.allSettled(copies);
  const running = await starting?.catch(() => undefined);
  if (!signal.aborted) {
    await running?.stop();
    return outcomes.flatMap((outcome) => (outcome.status === 'fulfilled' ? [outcome.value] : []));
  }
  const ended = (await running?.kill()) ?? true;
  // A daemon that hangs in the kernel still holds its file; removing it would hang as well.
  if (ended) for (const target of made) await rm(target, { force: true });
  throw signal.reason;
}

/** Copies one image. As `copyImages`. */
export async function copyImage(request: CopyRequest, options: CopyOptions = {}): Promise<CopyResult> {
  const [result] = await copyImages([request], options);
  if (!result) throw ferryError('INTERNAL', { what: 'a copy without a result' });
  return result;
}

/**
 * QEMU counts in sectors, and refuses an O_DIRECT target that ends within a block of its file system. So the job copies
 * whole pieces of this many bytes, larger than any such block, and the rest at the end is copied here.
 */
const PIECE = 65_536;

interface Context {
  readonly daemon: () => Promise<StorageDaemon>;
  readonly control: CopyControl;
  readonly made: Set<string>;
  readonly signal: AbortSignal;
}

async function copyOne(
  { source, target, owner, replace = false, frozenBy = [] }: CopyRequest,
  id: string,
  context: Context,
  onProgress: CopyOptions['onProgress'],
): Promise<CopyResult> {
  const { daemon, control, made, signal } = context;
  signal.throwIfAborted();
  if (await sameFile(source.path, target)) throw ferryError('TARGET_EXISTS', { path: target });
  // As raw, because the bytes of the file are what is copied.
  const { fileSize, blockDevice } = await probeImage(source.path, { format: 'raw', signal });
  const { openers } = await openersOf(source.path);
  if (openers.some(({ pid, writes }) => writes && !frozenBy.includes(pid))) {
    throw ferryError('IMAGE_IN_USE', { path: source.path });
  }
  const before = await stamp(source.path);
  await createFile(target, replace);
  made.add(target);
  let copied = 0;
  const method = !blockDevice && (await reflink(source.path, target)) ? 'reflink' : 'mirror';
  if (method === 'mirror') {
    const report = (done: number, total: number): void => {
      copied = done;
      onProgress?.({ source: source.path, target, copied: done, total });
    };
    try {
      const whole = fileSize - (fileSize % PIECE);
      await truncate(target, whole);
      if (whole > 0) {
        const { qmp } = await daemon();
        const work = {
          id,
          source: source.path,
          sourceIsBlockDevice: blockDevice,
          target,
          length: whole,
          control,
          signal,
        };
        await mirrorCopy(qmp, { ...work, onProgress: report });
      }
      copied += await copyTail(source.path, target, whole);
      report(copied, copied);
    } catch (error) {
      throw await copyFailure(error, source.path, target, context);
    }
  }
  await setOwner(target, owner);
  await syncFile(target);
  await syncFolder(dirname(target));
  if ((await stamp(source.path)) !== before) throw ferryError('SOURCE_CHANGED', { path: source.path });
  return { source: source.path, target, method, copied };
}

/** Copies what lies behind `from`, less than a piece. Returns how much it was. */
async function copyTail(source: string, target: string, from: number): Promise<number> {
  await using input = await open(source, 'r');
  const tail = await readAt(input, from, PIECE);
  if (tail.length === 0) return 0;
  await using output = await open(target, 'r+');
  // A hole at the end stays one.
  if (tail.every((byte) => byte === 0)) await output.truncate(from + tail.length);
  else await output.write(tail, 0, tail.length, from);
  return tail.length;
}

/** Differs when a file was written to in between. */
async function stamp(path: string): Promise<string> {
  const { size, mtimeNs } = await stat(path, { bigint: true });
  return `${size} ${mtimeNs}`;
}

/** Shares the source's blocks with the target where the file system can (FICLONE: btrfs, XFS, bcachefs, NFS 4.2). */
async function reflink(source: string, target: string): Promise<boolean> {
  try {
    await copyFile(source, target, constants.COPYFILE_FICLONE_FORCE);
    return true;
  } catch (error) {
    if (!['ENOTSUP', 'EOPNOTSUPP', 'ENOSYS', 'EXDEV', 'EINVAL', 'ENOTTY'].includes(errnoOf(error) ?? '')) throw error;
    // Node removes the target when it cannot clone.
    await createFile(target, true);
    return false;
  }
}

async function copyFailure(error: unknown, source: string, target: string, context: Context): Promise<unknown> {
  if (context.signal.aborted) return context.signal.reason;
  if (isFerryError(error) && !error.code.startsWith('QMP_')) return error;
  const reason = isQmpConnectionLost(error)
    ? `qemu-storage-daemon ended: ${await (await context.daemon()).exited}`
    : messageOf(error);
  return ferryError('COPY_FAILED', { source, target, reason }, { cause: error });
}
