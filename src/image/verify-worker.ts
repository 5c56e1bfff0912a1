// The process that `verifyCopy` forks: it compares two files, so that no bulk bytes pass through the main process.
import { createHash, hash } from 'node:crypto';
import { constants } from 'node:fs';
import { type FileHandle, open } from 'node:fs/promises';
import { errnoOf, messageOf, run } from '../base/index.ts';
import type { CopyLimits } from './copy-control.ts';
import { dataExtents, touchedPieces } from './data-extents.ts';
import type { VerifyOrder, VerifyReport, VerifyTask } from './verify-messages.ts';
import { Wakeup } from './wakeup.ts';

/** What is read and compared at once, and the leaf of the digest. */
const PIECE = 2 ** 20;
/** Pairs of pieces that are read ahead. */
const AHEAD = 4;
const WASM_PAGE = 65_536;
const REPORT_MS = 250;

let limits: CopyLimits = { bytesPerSecond: 0, paused: false };
const wakeup = new Wakeup();

function report(message: VerifyReport): void {
  process.send?.(message);
}

/** Waits as the limits ask before so many bytes more are read. The time is counted anew when the limits change. */
class Pace {
  #limits = limits;
  #due = 0;

  async take(bytes: number): Promise<void> {
    while (true) {
      const now = performance.now();
      if (this.#limits !== limits) {
        this.#limits = limits;
        this.#due = now;
      }
      if (limits.paused) await wakeup.wait(2 ** 30);
      else if (limits.bytesPerSecond === 0) return;
      else if (this.#due > now) await wakeup.wait(this.#due - now);
      else {
        // What was not used while waiting for the storage is not made up for.
        this.#due = now + (bytes / limits.bytesPerSecond) * 1000;
        return;
      }
    }
  }
}

/** WebAssembly as far as it is used: TypeScript declares it only for browsers. */
const { WebAssembly } = globalThis as unknown as {
  readonly WebAssembly: {
    readonly Memory: new (pages: { readonly initial: number }) => { readonly buffer: ArrayBuffer };
  };
};

/** Two buffers of a piece each. WebAssembly memory is what Node has that begins at a page, as O_DIRECT needs. */
class PieceReader {
  readonly #memory = new Uint8Array(new WebAssembly.Memory({ initial: (2 * PIECE) / WASM_PAGE }).buffer);
  #reading: Promise<readonly [number, number]> | undefined;
  #piece = -1;

  start(piece: number, source: FileHandle, target: FileHandle): void {
    this.#piece = piece;
    const at = piece * PIECE;
    const work = Promise.all([
      readPiece(source, this.#memory.subarray(0, PIECE), at),
      readPiece(target, this.#memory.subarray(PIECE), at),
    ]);
    // It is awaited in its turn.
    work.catch(() => undefined);
    this.#reading = work;
  }

  async finish(): Promise<{ piece: number; source: Uint8Array; target: Uint8Array }> {
    const [sourceLength, targetLength] = (await this.#reading) ?? [0, 0];
    return {
      piece: this.#piece,
      source: this.#memory.subarray(0, sourceLength),
      target: this.#memory.subarray(PIECE, PIECE + targetLength),
    };
  }
}

async function readPiece(file: FileHandle, into: Uint8Array, position: number): Promise<number> {
  let filled = 0;
  while (filled < into.length) {
    const { bytesRead } = await file.read(into, filled, into.length - filled, position + filled);
    filled += bytesRead;
    // A read through O_DIRECT that ends off a block's end has met the end of the file.
    if (bytesRead === 0 || bytesRead % 512 !== 0) break;
  }
  return filled;
}

/** Opens the target so that reads come from the storage: O_DIRECT, or else after its cached pages were dropped. */
async function openTarget(path: string): Promise<{ file: FileHandle; readBack: 'direct' | 'cache-dropped' }> {
  await using flushed = await open(path, 'r');
  await flushed.sync();
  try {
    return { file: await open(path, constants.O_RDONLY | constants.O_DIRECT), readBack: 'direct' };
  } catch (error) {
    if (errnoOf(error) !== 'EINVAL') throw error;
    // dd drops the pages of the whole file when it is asked for none of it (posix_fadvise).
    await run('dd', [`if=${path}`, 'of=/dev/null', 'iflag=nocache', 'count=0', 'status=none']);
    return { file: await open(path, 'r'), readBack: 'cache-dropped' };
  }
}

async function sizeOf(path: string): Promise<number> {
  await using file = await open(path, 'r');
  const stat = await file.stat();
  if (!stat.isBlockDevice()) return stat.size;
  const { stdout } = await run('blockdev', ['--getsize64', path]);
  return Number(stdout);
}

function firstDifference(a: Uint8Array, b: Uint8Array): number {
  const shorter = Math.min(a.length, b.length);
  for (let n = 0; n < shorter; n += 1) if (a[n] !== b[n]) return n;
  return shorter;
}

async function compare(task: VerifyTask): Promise<VerifyReport> {
  const [size, targetSize] = await Promise.all([sizeOf(task.source), sizeOf(task.target)]);
  const target = await openTarget(task.target);
  await using targetFile = target.file;
  await using sourceFile = await open(task.source, 'r');
  const extents = [
    ...(await dataExtents(task.source, task.sourceIsBlockDevice, size)),
    ...(await dataExtents(task.target, false, targetSize)),
  ];
  const pieces = [...touchedPieces(extents, PIECE)];
  const total = pieces.reduce((sum, piece) => sum + pieceLength(piece, size), 0);
  const digest = new PieceDigest(size);
  const readers = Array.from({ length: AHEAD }, () => new PieceReader());
  const pace = new Pace();
  let started = 0;
  let compared = 0;
  let reported = 0;
  for (let done = 0; done < pieces.length; done += 1) {
    while (started < pieces.length && started < done + AHEAD) {
      const piece = pieces[started] ?? 0;
      // Read ahead only as far as the limits let; the piece that is waited for goes first.
      if (started > done && (limits.paused || limits.bytesPerSecond > 0)) break;
      await pace.take(pieceLength(piece, size));
      readers[started % AHEAD]?.start(piece, sourceFile, targetFile);
      started += 1;
    }
    const pair = await readers[done % AHEAD]?.finish();
    if (!pair) break;
    if (Buffer.compare(pair.source, pair.target) !== 0) {
      return { kind: 'mismatch', offset: pair.piece * PIECE + firstDifference(pair.source, pair.target) };
    }
    digest.add(pair.piece, pair.target);
    compared += pair.target.length;
    if (performance.now() - reported > REPORT_MS) {
      reported = performance.now();
      report({ kind: 'progress', compared, total });
    }
  }
  if (size !== targetSize) return { kind: 'mismatch', offset: Math.min(size, targetSize) };
  report({ kind: 'progress', compared, total: compared });
  return { kind: 'same', compared, size, digest: digest.end(), readBack: target.readBack };
}

function pieceLength(piece: number, size: number): number {
  return Math.max(0, Math.min(PIECE, size - piece * PIECE));
}

/** SHA-256 of the SHA-256 of each piece: the digest of a hole is known without hashing its zeroes. */
class PieceDigest {
  readonly #whole = createHash('sha256');
  readonly #zeroes = hash('sha256', Buffer.alloc(PIECE), 'buffer');
  readonly #size: number;
  #next = 0;

  constructor(size: number) {
    this.#size = size;
  }

  add(piece: number, bytes: Uint8Array): void {
    this.#skipTo(piece);
    this.#whole.update(hash('sha256', bytes, 'buffer'));
    this.#next = piece + 1;
  }

  end(): string {
    this.#skipTo(Math.ceil(this.#size / PIECE));
    return this.#whole.digest('hex');
  }

  #skipTo(piece: number): void {
    for (; this.#next < piece; this.#next += 1) {
      const length = pieceLength(this.#next, this.#size);
      this.#whole.update(length === PIECE ? this.#zeroes : hash('sha256', Buffer.alloc(length), 'buffer'));
    }
  }
}

async function answer(task: VerifyTask): Promise<void> {
  let outcome: VerifyReport;
  try {
    outcome = await compare(task);
  } catch (error) {
    outcome = { kind: 'failed', reason: messageOf(error) };
  }
  // Not before it is written.
  process.send?.(outcome, undefined, {}, () => process.disconnect());
}

process.on('message', (order: VerifyOrder) => {
  limits = 'task' in order ? order.task.limits : order.limits;
  wakeup.wake();
  if ('task' in order) void answer(order.task);
});
// The parent is gone, or wants no answer any more.
process.on('disconnect', () => process.exit());
