import type { ChildProcess } from 'node:child_process';
import { readFile } from 'node:fs/promises';
import { GuestChannel } from './guest-channel.ts';
import { type FioOptions, GuestLoad } from './guest-load.ts';
import { GuestWriter, type WriterOptions } from './guest-writer.ts';
import { LabError } from './requires.ts';
import { type LabDisk, serialOf } from './vm-command-line.ts';

/** How a VM's QEMU ended. */
export interface Exit {
  readonly status: number | null;
  readonly signal: NodeJS.Signals | null;
}

export interface LabVmParts {
  readonly name: string;
  readonly commandLine: readonly string[];
  readonly process: ChildProcess;
  readonly exited: Promise<Exit>;
  readonly qmpPaths: readonly string[];
  readonly disks: readonly LabDisk[];
  /** The file that takes what QEMU prints. */
  readonly log: string;
  /** Nothing for a VM that was started without a guest. */
  readonly guest?: { readonly agent: string; readonly console: string; readonly writers: readonly string[] };
}

/** The serial number of a virtio disk is cut off after so many bytes (VIRTIO_BLK_ID_BYTES). */
const SERIAL_SIZE = 20;

/** A running VM of the lab. */
export class LabVm {
  readonly name: string;
  readonly pid: number;
  /** The program and its arguments, as they were given to the kernel. */
  readonly commandLine: readonly string[];
  /** The monitors' sockets; `qmpPath` is the first. */
  readonly qmpPaths: readonly string[];
  readonly disks: readonly LabDisk[];
  /** Resolves when QEMU has ended, however it did. */
  readonly exited: Promise<Exit>;
  readonly #process: ChildProcess;
  readonly #log: string;
  readonly #guest: LabVmParts['guest'];
  readonly #channel: GuestChannel | undefined;
  #booting: Promise<void> | undefined;
  #devices: ReadonlyMap<string, string> | undefined;
  #loads = 0;
  #writers: GuestWriter[] = [];

  constructor(parts: LabVmParts) {
    this.name = parts.name;
    this.commandLine = parts.commandLine;
    this.qmpPaths = parts.qmpPaths;
    this.disks = parts.disks;
    this.exited = parts.exited;
    this.#process = parts.process;
    this.pid = parts.process.pid ?? 0;
    this.#log = parts.log;
    this.#guest = parts.guest;
    if (parts.guest) this.#channel = new GuestChannel(parts.guest.agent);
    this.exited.then(
      () => this.#channel?.close(),
      () => undefined,
    );
  }

  get qmpPath(): string {
    return this.qmpPaths[0] ?? '';
  }

  #open(): GuestChannel {
    if (this.#channel === undefined) throw new LabError(`${this.name} was started without a guest`);
    return this.#channel;
  }

  /**
   * Resolves when the guest answers and its disks are known.
   * @throws LabError with the end of what its kernel printed when it ends before
   */
  async booted(): Promise<void> {
    this.#booting ??= this.#boot();
    await this.#booting;
  }

  async #boot(): Promise<void> {
    try {
      await this.#open().ready;
    } catch (error) {
      throw new LabError(`${this.name} did not boot: ${(await this.consoleText()).slice(-2000)}`, { cause: error });
    }
    const look = this.#open().start('for d in /sys/block/vd*; do IFS= read -r s < $d/serial; echo "${d##*/} $s"; done');
    await look.ended;
    const bySerial = new Map(
      look
        .output()
        .split('\n')
        .map((line) => [line.slice(line.indexOf(' ') + 1), `/dev/${line.slice(0, line.indexOf(' '))}`]),
    );
    const devices = new Map<string, string>();
    for (const disk of this.disks.filter(({ cdrom }) => !cdrom)) {
      const serial = Buffer.from(serialOf(disk)).subarray(0, SERIAL_SIZE).toString();
      const device = bySerial.get(serial);
      if (device === undefined) throw new LabError(`the guest of ${this.name} has no disk with the serial '${serial}'`);
      devices.set(disk.id, device);
    }
    this.#devices = devices;
  }

  /** The guest's device of each disk (`/dev/vda`), by the disk's id; known when `booted()` has resolved. */
  get devices(): ReadonlyMap<string, string> {
    if (this.#devices === undefined) throw new LabError(`${this.name} has not booted yet: await booted() first`);
    return this.#devices;
  }

  #device(disk: string): string {
    const device = this.devices.get(disk);
    if (device === undefined) throw new LabError(`${this.name} has no disk '${disk}'`);
    return device;
  }

  /** Runs a command in the guest's shell (busybox, perl, fio), beside whatever else runs there. */
  async shell(command: string): Promise<{ status: number; output: string }> {
    await this.booted();
    const running = this.#open().start(command);
    const status = await running.ended;
    return { status, output: running.output() };
  }

  async #must(command: string): Promise<string> {
    const { status, output } = await this.shell(command);
    if (status !== 0)
      throw new LabError(`the guest of ${this.name}: '${command}' failed (${status}): ${output.trim()}`);
    return output;
  }

  /** Starts fio; resolves when it begins its I/O. It runs until it is stopped. */
  async startFio(options: FioOptions): Promise<GuestLoad> {
    await this.booted();
    this.#loads += 1;
    return await GuestLoad.start(this.#open(), this.#device(options.disk), options, `fio-${this.#loads}`);
  }

  /** Starts a recording writer; resolves when its first write is acknowledged. */
  async startWriter(options: WriterOptions): Promise<GuestWriter> {
    await this.booted();
    const device = this.#device(options.disk);
    const blockSize = options.blockSize ?? 4096;
    const pattern = {
      seed: options.seed ?? 1,
      blockSize,
      region: options.region ?? (await this.#wholeDisk(device, blockSize)),
      zeroEvery: options.zeroEvery ?? 0,
      discardEvery: options.discardEvery ?? 0,
    };
    const ports = this.#guest?.writers ?? [];
    const port = ports.findIndex((_, index) => !this.#writers[index]?.running);
    const reports = ports[port];
    if (reports === undefined) throw new LabError(`${this.name}: at most ${ports.length} writers run at once`);
    const writer = new GuestWriter(this.#open(), device, options, pattern, reports, port);
    this.#writers[port] = writer;
    await writer.reached(1);
    return writer;
  }

  async #wholeDisk(device: string, blockSize: number): Promise<{ offset: number; length: number }> {
    const size = Number(await this.#must(`cat /sys/block/${device.slice('/dev/'.length)}/size`)) * 512;
    return { offset: 0, length: size - (size % blockSize) };
  }

  /**
   * The sha256 (hex) of what the guest reads from a disk, past its page cache. Under TCG it goes through 15 to 30 MB/s:
   * give a region of a large disk.
   */
  async checksum(disk: string, region?: { readonly offset: number; readonly length: number }): Promise<string> {
    await this.booted();
    const device = this.#device(disk);
    const part = region ? `skip=${region.offset} count=${region.length} iflag=skip_bytes,count_bytes` : '';
    const output = await this.#must(
      `blockdev --flushbufs ${device} && dd if=${device} bs=65536 ${part} 2>/dev/null | sha256sum`,
    );
    return output.slice(0, 64);
  }

  /** What the guest's kernel printed about failed I/O; none is as it should be. */
  async ioErrors(): Promise<string[]> {
    const { output } = await this.shell(
      `dmesg | grep -iE 'I/O error|critical .* error|blk_update_request|timed out|hung_task|blocked for more'`,
    );
    return output.split('\n').filter((line) => line !== '');
  }

  /** What the guest's kernel printed on its console. */
  async consoleText(): Promise<string> {
    return this.#guest ? await readFile(this.#guest.console, 'utf8') : '';
  }

  /** What QEMU itself printed: warnings, a failed assertion. */
  async qemuLog(): Promise<string> {
    return await readFile(this.#log, 'utf8');
  }

  /** Powers the guest down, or ends a QEMU without one in good order; resolves when QEMU has ended. */
  async stop(): Promise<void> {
    if (this.#channel) {
      await this.booted();
      this.#channel.start('sync; poweroff -f');
    } else this.#process.kill('SIGTERM');
    await this.exited;
  }

  /** kill -9; resolves when QEMU is gone. */
  async kill(): Promise<void> {
    this.#process.kill('SIGKILL');
    await this.exited;
  }
}
