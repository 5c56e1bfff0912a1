import { type ChildProcess, fork } from 'node:child_process';
import { ferryError, messageOf } from '../base/index.ts';
import { CopyControl, type CopyShare } from './copy-control.ts';
import type { ImageInfo } from './image-info.ts';
import type { VerifyOrder, VerifyReport } from './verify-messages.ts';

export interface VerifyOptions {
  readonly source: Pick<ImageInfo, 'path' | 'blockDevice'>;
  /** The copy: a file. */
  readonly target: string;
  readonly control?: CopyControl;
  /** Bytes compared, and to compare: what is a hole on both sides does not count. */
  readonly onProgress?: (compared: number, total: number) => void;
  readonly signal?: AbortSignal;
}

export interface VerifyResult {
  /** Bytes that were read on both sides. */
  readonly compared: number;
  /** The length of both files. */
  readonly size: number;
  /** Of the target's bytes as read back: the SHA-256 of the SHA-256 sums of each MiB, in hexadecimal. */
  readonly digest: string;
  /** `direct`: past the page cache (O_DIRECT). `cache-dropped`: the file system cannot; the cache was dropped before. */
  readonly readBack: 'direct' | 'cache-dropped';
}

/** Compiled, the worker is a .js file beside this one; type stripping runs the .ts file. */
const WORKER = new URL(import.meta.url.endsWith('.ts') ? 'verify-worker.ts' : 'verify-worker.js', import.meta.url);

/**
 * Proves that a copy holds its source's bytes: flushes it, reads it back from its storage and not from the page cache,
 * and compares every byte. What is a hole on both sides is not read. A process of its own does the work, and ends when
 * this one does.
 * @throws FerryError VERIFY_MISMATCH with the offset of the first difference; VERIFY_FAILED when something could not be
 *   read; the signal's reason
 */
export async function verifyCopy(options: VerifyOptions): Promise<VerifyResult> {
  const { source, target, signal } = options;
  signal?.throwIfAborted();
  // In a session of its own: a Ctrl-C on the terminal is a question to us. The options of this process are not for it.
  const child = fork(WORKER, { detached: true, execArgv: [], stdio: ['ignore', 'ignore', 'inherit', 'ipc'] });
  const tell = (order: VerifyOrder): void => {
    if (child.connected) child.send(order, () => undefined);
  };
  let joined: CopyShare | undefined;
  const control = options.control ?? new CopyControl();
  // It is told of its own joining as well, before there is a share to ask.
  using share = control.join(() => joined && tell({ limits: joined.limits }));
  joined = share;
  const onAbort = (): void => void child.kill('SIGKILL');
  signal?.addEventListener('abort', onAbort, { once: true });
  try {
    const { path, blockDevice } = source;
    tell({ task: { source: path, sourceIsBlockDevice: blockDevice, target, limits: share.limits } });
    const outcome = await finalReport(child, options.onProgress);
    if (signal?.aborted) throw signal.reason;
    if (outcome.kind === 'mismatch') {
      throw ferryError('VERIFY_MISMATCH', { source: path, target, offset: outcome.offset });
    }
    if (outcome.kind === 'failed') throw ferryError('VERIFY_FAILED', { source: path, target, reason: outcome.reason });
    const { compared, size, digest, readBack } = outcome;
    return { compared, size, digest, readBack };
  } finally {
    signal?.removeEventListener('abort', onAbort);
  }
}

type FinalReport = Exclude<VerifyReport, { readonly kind: 'progress' }>;

/** What it found, once it has ended. */
async function finalReport(child: ChildProcess, onProgress: VerifyOptions['onProgress']): Promise<FinalReport> {
  let last: FinalReport | undefined;
  return await new Promise((resolve) => {
    child.on('message', (message: VerifyReport) => {
      if (message.kind === 'progress') onProgress?.(message.compared, message.total);
      else last = message;
    });
    child.once('error', (error) => resolve({ kind: 'failed', reason: messageOf(error) }));
    child.once('close', (status, killed) => {
      const how = killed ? `killed by ${killed}` : `exit status ${status}`;
      resolve(last ?? { kind: 'failed', reason: `the comparing process ended (${how})` });
    });
  });
}
