import { readFileSync, statSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import type { GuestChannel, GuestCommand } from './guest-channel.ts';
import { LabError } from './requires.ts';
import type { WritePattern, WriteRecord } from './write-pattern.ts';

export interface WriterOptions {
  /** The lab's id of the disk. */
  readonly disk: string;
  /** Bytes of one write; default 4096. */
  readonly blockSize?: number;
  /** Default: the whole disk. */
  readonly region?: { readonly offset: number; readonly length: number };
  /** Default 1. Writers of one disk must differ in it, and in their regions. */
  readonly seed?: number;
  /** Writes per second; default: as many as go. */
  readonly rate?: number;
  readonly zeroEvery?: number;
  readonly discardEvery?: number;
}

const REPORT_SIZE = 8;
/**
 * Reports that the guest has sent and QEMU has not written to the file when it is killed: at most what the port's queue holds.
 * The guest does not wait for them (Linux sends to a port without waiting), so that with an iothread the next writes may be
 * on the disk before.
 */
const UNREPORTED = 128;
const LOOK_EVERY_MS = 10;

/** guest/writer.pl running in the guest: one flushed write after another, each reported when it is acknowledged. */
export class GuestWriter {
  readonly disk: string;
  readonly #pattern: WritePattern;
  readonly #reports: string;
  readonly #before: number;
  readonly #command: GuestCommand;
  #ended: { status: number | undefined } | undefined;

  /**
   * @param reports the file that takes the reports
   * @param port the number of the guest's port for them
   */
  constructor(
    channel: GuestChannel,
    device: string,
    options: WriterOptions,
    pattern: WritePattern,
    reports: string,
    port: number,
  ) {
    this.disk = options.disk;
    this.#pattern = pattern;
    this.#reports = reports;
    this.#before = statSync(reports).size;
    const { seed, blockSize, region, zeroEvery, discardEvery } = pattern;
    const numbers = [seed, blockSize, region.offset, region.length, zeroEvery, discardEvery, options.rate ?? 0];
    this.#command = channel.start(
      `exec perl /guest/writer.pl ${device} /dev/virtio-ports/blockferry.writer${port} ${numbers.join(' ')}`,
    );
    this.#command.ended.then(
      (status) => (this.#ended = { status }),
      () => (this.#ended = { status: undefined }),
    );
  }

  /** The highest acknowledged write. Right at any time, also after QEMU was killed. */
  get acknowledged(): number {
    return Math.floor((statSync(this.#reports).size - this.#before) / REPORT_SIZE);
  }

  /** Whether it runs: false after `stop()`, an I/O error, or the end of the guest. */
  get running(): boolean {
    return this.#ended === undefined;
  }

  /**
   * Waits until write `n` is acknowledged.
   * @throws LabError when the writer ends before
   */
  async reached(n: number): Promise<void> {
    while (this.acknowledged < n) {
      if (this.#ended) throw new LabError(`the writer of ${this.disk} ended at ${this.acknowledged}: ${this.#why()}`);
      await sleep(LOOK_EVERY_MS);
    }
  }

  /** Waits until so many more writes are acknowledged than now. */
  async advanced(count: number): Promise<void> {
    await this.reached(this.acknowledged + count);
  }

  #why(): string {
    if (this.#ended?.status === undefined) return 'the guest is gone';
    return this.#command.output().trim() || `exit status ${this.#ended.status}`;
  }

  /**
   * Ends it after the write at hand and returns the record. When the guest is gone the record holds what was reported.
   * @throws LabError when a write failed
   */
  async stop(): Promise<WriteRecord> {
    this.#command.signal('TERM');
    const status = await this.#command.ended.catch(() => 0);
    if (status !== 0) throw new LabError(`the writer of ${this.disk} failed: ${this.#command.output().trim()}`);
    return this.record();
  }

  /** What is known to be written, for the check for lost writes. */
  record(): WriteRecord {
    const clean = this.#ended?.status === 0;
    const { acknowledged } = this;
    const begun = clean ? acknowledged : acknowledged + UNREPORTED + 1;
    return { disk: this.disk, ...this.#pattern, acknowledged, begun };
  }

  /** How long each acknowledged write took in the guest, in milliseconds; the first is write 1. */
  latenciesMs(): Float64Array {
    const bytes = readFileSync(this.#reports).subarray(this.#before);
    return Float64Array.from(
      { length: Math.floor(bytes.length / REPORT_SIZE) },
      (_, index) => bytes.readUInt32LE(index * REPORT_SIZE + 4) / 1000,
    );
  }
}
