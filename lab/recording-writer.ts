import { setTimeout as sleep } from 'node:timers/promises';
import type { NbdClient } from './nbd-client.ts';
import {
  blockIndex,
  type WritePattern,
  type WriteRecord,
  writeContents,
  writeKind,
  writeOffset,
} from './write-pattern.ts';

export interface RecordingWriterOptions extends WritePattern {
  /** The lab's id of the disk, for the record. */
  readonly disk: string;
  /** Writes in flight at most. Default 4. Two writes to the same block are never in flight together. */
  readonly depth?: number;
  /** Writes begun per second at most. Default: as fast as they are acknowledged. */
  readonly rate?: number;
}

interface Waiter {
  readonly acknowledged: number;
  readonly resolve: () => void;
  readonly reject: (error: Error) => void;
}

/**
 * Writes over NBD, each write with FUA, and knows which were acknowledged: the prefix of its sequence that is on stable
 * storage by the server's own word. It ends at the first error, which is not thrown but kept in `failure`: what it
 * recorded until then is what the check wants.
 */
export class RecordingWriter implements AsyncDisposable {
  readonly #client: NbdClient;
  readonly #options: RecordingWriterOptions;
  readonly #inFlight = new Map<number, Promise<void>>();
  /** Acknowledged out of order: sequences past the prefix. */
  readonly #early = new Set<number>();
  #waiters: Waiter[] = [];
  #acknowledged = 0;
  #begun = 0;
  #stopping = false;
  #paused: { readonly promise: Promise<void>; readonly resolve: () => void } | undefined;
  #failure: Error | undefined;
  readonly #ended: Promise<void>;

  private constructor(client: NbdClient, options: RecordingWriterOptions) {
    this.#client = client;
    this.#options = options;
    this.#ended = this.#run();
  }

  /** Begins to write at sequence 1. The client stays the caller's. */
  static start(client: NbdClient, options: RecordingWriterOptions): RecordingWriter {
    return new RecordingWriter(client, options);
  }

  /** The error that ended it, if any. */
  get failure(): Error | undefined {
    return this.#failure;
  }

  /** What was acknowledged until now. */
  record(): WriteRecord {
    const { disk, seed, blockSize, region, zeroEvery, discardEvery } = this.#options;
    const counts = { acknowledged: this.#acknowledged, begun: this.#begun };
    return { disk, seed, blockSize, region, zeroEvery, discardEvery, ...counts };
  }

  /** Resolves when so many more writes are acknowledged; rejects with the failure, or when it is stopped before. */
  more(writes: number): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#waiters.push({ acknowledged: this.#acknowledged + writes, resolve, reject });
      this.#wake();
    });
  }

  /** Begins no more writes until `resume`, and waits for those in flight. */
  async pause(): Promise<void> {
    this.#paused ??= Promise.withResolvers<void>();
    await Promise.all(this.#inFlight.values());
  }

  resume(): void {
    this.#paused?.resolve();
    this.#paused = undefined;
  }

  /** Begins no more writes, waits for those in flight and gives the record. Does not throw: see `failure`. */
  async stop(): Promise<WriteRecord> {
    this.#stopping = true;
    this.resume();
    await this.#ended;
    return this.record();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop();
  }

  async #run(): Promise<void> {
    const { depth = 4, rate } = this.#options;
    const started = performance.now();
    while (!this.#stopping && !this.#failure) {
      const n = this.#begun + 1;
      const wait = rate === undefined ? 0 : started + (n * 1000) / rate - performance.now();
      if (wait > 0) await sleep(wait);
      const index = blockIndex(this.#options, n);
      while (this.#inFlight.size >= depth || this.#inFlight.has(index)) await Promise.race(this.#inFlight.values());
      if (this.#paused) await this.#paused.promise;
      if (this.#stopping || this.#failure) break;
      this.#begun = n;
      this.#inFlight.set(index, this.#write(n, index));
    }
    await Promise.all(this.#inFlight.values());
    this.#wake();
  }

  async #write(n: number, index: number): Promise<void> {
    try {
      const offset = writeOffset(this.#options, n);
      const kind = writeKind(this.#options, n);
      if (kind === 'data') await this.#client.write(offset, writeContents(this.#options, n), { fua: true });
      else if (kind === 'zero') await this.#client.writeZeroes(offset, this.#options.blockSize, { fua: true });
      else await this.#client.trim(offset, this.#options.blockSize, { fua: true });
      this.#early.add(n);
      while (this.#early.delete(this.#acknowledged + 1)) this.#acknowledged += 1;
    } catch (error) {
      this.#failure ??= error as Error;
    } finally {
      this.#inFlight.delete(index);
      this.#wake();
    }
  }

  #wake(): void {
    const over = this.#failure ?? (this.#stopping ? new Error('the writer was stopped') : undefined);
    const left: Waiter[] = [];
    for (const waiter of this.#waiters) {
      if (this.#acknowledged >= waiter.acknowledged) waiter.resolve();
      else if (over) waiter.reject(over);
      else left.push(waiter);
    }
    this.#waiters = left;
  }
}
