import type { GuestChannel, GuestCommand } from './guest-channel.ts';
import { LabError } from './requires.ts';

export interface FioOptions {
  /** The lab's id of the disk. */
  readonly disk: string;
  readonly pattern: 'read' | 'write' | 'rw' | 'randread' | 'randwrite' | 'randrw';
  /** Operations per second; default: as many as go. */
  readonly iops?: number;
  /** Bytes per second; default: as many as go. */
  readonly bytesPerSecond?: number;
  /** Bytes; default 4096. */
  readonly blockSize?: number;
  /** Operations in flight; default 1. */
  readonly depth?: number;
  /** Reads what it wrote while it goes on, and ends with an error where it differs. */
  readonly verify?: boolean;
  /** The part of the disk, in bytes; default: all of it. */
  readonly offset?: number;
  readonly size?: number;
  /** More of fio's options: `['--fsync=1']`. */
  readonly extra?: readonly string[];
}

/** Reads or writes of a load. */
export interface FioSide {
  readonly ios: number;
  readonly bytes: number;
  readonly iops: number;
  /** From submission to completion, in milliseconds. */
  readonly latencyMs: { readonly mean: number; readonly p50: number; readonly p99: number; readonly max: number };
}

export interface FioResult {
  readonly read: FioSide;
  readonly write: FioSide;
  /** 0, or the errno of the first error that fio saw (5: I/O error; 84: verification failed). */
  readonly error: number;
  /** All that fio printed, parsed. */
  readonly raw: unknown;
}

interface RawSide {
  total_ios: number;
  io_bytes: number;
  iops: number;
  lat_ns: { mean: number; max: number; percentile?: Record<string, number> };
}

function ms(nanoseconds: number | undefined): number {
  return (nanoseconds ?? 0) / 1e6;
}

function side(raw: RawSide): FioSide {
  const percentile = raw.lat_ns.percentile ?? {};
  const latencyMs = {
    mean: ms(raw.lat_ns.mean),
    p50: ms(percentile['50.000000']),
    p99: ms(percentile['99.000000']),
    max: ms(raw.lat_ns.max),
  };
  return { ios: raw.total_ios, bytes: raw.io_bytes, iops: raw.iops, latencyMs };
}

/** Reads what fio prints with `--output-format=json`; warnings may stand before it. */
export function parseFio(output: string): FioResult {
  const start = output.search(/^\{$/m);
  const end = output.lastIndexOf('\n}');
  if (start < 0 || end < start) throw new LabError(`fio printed no result: ${output.trim() || 'nothing'}`);
  const raw = JSON.parse(output.slice(start, end + 2)) as { jobs: { error: number; read: RawSide; write: RawSide }[] };
  const job = raw.jobs[0];
  if (job === undefined) throw new LabError('fio reports no job');
  return { read: side(job.read), write: side(job.write), error: job.error, raw };
}

/** Where fio leaves its result in the guest. */
function resultFile(name: string): string {
  return `/run/${name}.json`;
}

/** The file by whose appearance fio ends in the guest. */
function stopFile(name: string): string {
  return `/run/${name}.stop`;
}

/** fio's command line for a load that runs until it is stopped. */
export function fioCommand(device: string, options: FioOptions, name: string): string {
  const args = [
    'fio',
    `--name=${name}`,
    `--filename=${device}`,
    `--rw=${options.pattern}`,
    `--bs=${options.blockSize ?? 4096}`,
    `--iodepth=${options.depth ?? 1}`,
    '--direct=1',
    '--ioengine=libaio',
    '--time_based',
    '--runtime=1000000',
    '--lat_percentiles=1',
    '--clat_percentiles=0',
    '--output-format=json',
    // Not to the pipe: what fio says of an I/O error on stderr would get between two of its pieces of 4,096 bytes.
    `--output=${resultFile(name)}`,
    // Not by a signal: one that comes while fio writes its result, as after an I/O error, gets "terminating on signal" between two
    // of those pieces, and its handler uses the stdio and malloc that it has interrupted.
    `--trigger-file=${stopFile(name)}`,
    // Seen by start(): from then on it does I/O.
    `--exec_prerun="touch /run/${name}"`,
    ...(options.iops === undefined ? [] : [`--rate_iops=${options.iops}`]),
    ...(options.bytesPerSecond === undefined ? [] : [`--rate=${options.bytesPerSecond}`]),
    ...(options.offset === undefined ? [] : [`--offset=${options.offset}`]),
    ...(options.size === undefined ? [] : [`--size=${options.size}`]),
    // Later rounds of a timed load write over earlier ones: without serialize_overlap verification would see both.
    ...(options.verify
      ? ['--verify=crc32c', '--verify_backlog=256', '--serialize_overlap=1', '--verify_fatal=1']
      : ['--norandommap=1']),
    ...(options.extra ?? []),
  ];
  return `cd /run && exec ${args.join(' ')}`;
}

/** What a disk has done since the load began, by the guest's own count: of everything that uses the disk. */
export interface DiskStats {
  readonly reads: number;
  readonly readBytes: number;
  readonly writes: number;
  readonly writtenBytes: number;
}

/** fio running in the guest. */
export class GuestLoad {
  readonly disk: string;
  readonly #channel: GuestChannel;
  readonly #device: string;
  readonly #name: string;
  readonly #fio: GuestCommand;
  #before: DiskStats = { reads: 0, readBytes: 0, writes: 0, writtenBytes: 0 };

  private constructor(channel: GuestChannel, device: string, options: FioOptions, name: string) {
    this.disk = options.disk;
    this.#channel = channel;
    this.#device = device;
    this.#name = name;
    this.#fio = channel.start(fioCommand(device, options, name));
  }

  /** Starts fio; resolves when it begins its I/O. */
  static async start(channel: GuestChannel, device: string, options: FioOptions, name: string): Promise<GuestLoad> {
    const load = new GuestLoad(channel, device, options, name);
    load.#before = await load.#count();
    const begun = channel.start(`until [ -e /run/${name} ]; do usleep 20000; done`);
    const first = await Promise.race([begun.ended.then(() => 'begun' as const), load.#fio.ended]);
    if (first !== 'begun') {
      begun.signal('KILL');
      throw new LabError(`fio ended with status ${first}: ${load.#fio.output().trim()}`);
    }
    return load;
  }

  async #count(): Promise<DiskStats> {
    const look = this.#channel.start(`cat /sys/block/${this.#device.slice('/dev/'.length)}/stat`);
    await look.ended;
    const [reads = 0, , readSectors = 0, , writes = 0, , writtenSectors = 0] = look
      .output()
      .trim()
      .split(/\s+/)
      .map(Number);
    return { reads, readBytes: readSectors * 512, writes, writtenBytes: writtenSectors * 512 };
  }

  async stats(): Promise<DiskStats> {
    const now = await this.#count();
    return {
      reads: now.reads - this.#before.reads,
      readBytes: now.readBytes - this.#before.readBytes,
      writes: now.writes - this.#before.writes,
      writtenBytes: now.writtenBytes - this.#before.writtenBytes,
    };
  }

  /** Ends the load and returns what it did; `error` is not 0 where fio saw an I/O error or wrong data, also earlier. */
  async stop(): Promise<FioResult> {
    await this.#channel.start(`touch ${stopFile(this.#name)}`).ended;
    await this.#fio.ended;
    const look = this.#channel.start(`cat ${resultFile(this.#name)}`);
    await look.ended;
    return parseFio(`${this.#fio.output()}\n${look.output()}`);
  }
}
