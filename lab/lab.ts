import { type ChildProcess, spawn } from 'node:child_process';
import { closeSync, openSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { mkdir, mkdtemp, readFile } from 'node:fs/promises';
import { connect } from 'node:net';
import { constants, tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { run } from '../src/base/index.ts';
import { QmpClient } from '../src/qmp/index.ts';
import { chooseAccelerator } from './accelerator.ts';
import { isAlive } from './cache.ts';
import { type GuestImage, guestImage } from './guest-image.ts';
import { type ImageOptions, makeImage } from './lab-image.ts';
import { type Exit, LabVm } from './lab-vm.ts';
import { installedQemu, type QemuBuild } from './qemu-builds.ts';
import { LabError } from './requires.ts';
import { restoreGuest, type SavedGuest, savedGuest } from './saved-guest.ts';
import { type ChainImage, type DiskStyle, type LabDisk, vmArguments } from './vm-command-line.ts';

export interface VmOptions {
  readonly name: string;
  readonly uuid?: string;
  /** Default: the lab's. */
  readonly build?: QemuBuild;
  readonly disks: readonly LabDisk[];
  /** Default `blockdev`. */
  readonly style?: DiskStyle;
  /** MiB; default 384. */
  readonly memory?: number;
  readonly extraArgs?: readonly string[];
  /** QMP sockets; default 1. */
  readonly monitors?: 1 | 2 | 3;
  /**
   * The sizes of the disks, in bytes: the guest goes on from one that has booted with disks of these sizes (`SavedGuest`).
   * For disks that are virtio disks, all of them. Default: it boots.
   */
  readonly warm?: readonly number[];
  /** The file that is to be the VM's memory, so that the guest can be saved. */
  readonly memoryFile?: string;
  /** false: QEMU runs without a guest, for tests that need the block layer only. Default true. */
  readonly boot?: boolean;
}

/** MiB */
const DEFAULT_MEMORY = 384;
/** Recording writers that may run at once in a guest. */
const WRITERS = 8;
const PREFIX = 'blockferry-lab-';

const open = new Set<Lab>();
let watching = false;

/** Whatever way this process ends, nothing of its labs is left behind; against SIGKILL see `setpriv` below. */
function watchForTheEnd(): void {
  if (watching) return;
  watching = true;
  process.on('exit', () => {
    for (const lab of open) lab.abandon();
  });
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
    process.on(signal, () => {
      // A program that handles the signal itself disposes of its labs.
      if (process.listenerCount(signal) === 1) process.exit(128 + constants.signals[signal]);
    });
  }
}

/** Removes the folders of labs whose process was killed. */
function removeAbandoned(): void {
  for (const entry of readdirSync(tmpdir())) {
    const pid = entry.startsWith(PREFIX) ? /^(\d+)-/.exec(entry.slice(PREFIX.length))?.[1] : undefined;
    if (pid !== undefined && !isAlive(Number(pid))) rmSync(join(tmpdir(), entry), { recursive: true, force: true });
  }
}

/** A laboratory: a temporary folder, and the VMs that run in it. All of it is gone when it is disposed of. */
export class Lab implements AsyncDisposable {
  readonly name: string;
  /** The lab's folder. */
  readonly folder: string;
  /** The build of QEMU that is used where none is named. */
  readonly build: QemuBuild;
  readonly #machines: Machine[] = [];
  readonly #cleanups: (() => Promise<void> | void)[] = [];

  private constructor(name: string, folder: string, build: QemuBuild) {
    this.name = name;
    this.folder = folder;
    this.build = build;
  }

  /**
   * Opens a lab.
   * @throws LabError that says what to install where something is missing
   */
  static async open(options: { readonly name: string; readonly build?: QemuBuild }): Promise<Lab> {
    const build = options.build ?? (await installedQemu());
    removeAbandoned();
    const word = options.name.replaceAll(/\W+/g, '-').slice(0, 16);
    const lab = new Lab(options.name, await mkdtemp(join(tmpdir(), `${PREFIX}${process.pid}-${word}-`)), build);
    open.add(lab);
    watchForTheEnd();
    return lab;
  }

  /** Makes a folder that plays a storage; any name that a folder can have. */
  async storage(name: string): Promise<string> {
    const folder = join(this.folder, name);
    await mkdir(folder, { recursive: true });
    return folder;
  }

  /** Makes an image with qemu-img. */
  async image(image: ImageOptions & { readonly build?: QemuBuild }): Promise<string> {
    await makeImage(image.build ?? this.build, this.folder, image);
    return image.path;
  }

  /** Has something undone when the lab is disposed of, after its VMs have ended; the last comes first. */
  defer(cleanup: () => Promise<void> | void): void {
    this.#cleanups.push(cleanup);
  }

  /** Starts a VM; resolves when its monitors answer. `booted()` of the VM waits for the guest. */
  async startVm(options: VmOptions): Promise<LabVm> {
    const build = options.build ?? this.build;
    const image = options.boot === false ? undefined : await guestImage();
    const accelerator = image === undefined ? 'tcg' : await chooseAccelerator(build, image);
    const folder = await mkdtemp(join(this.folder, 'vm-'));
    const monitors = Array.from({ length: options.monitors ?? 1 }, (_, index) =>
      join(folder, `qmp${index || ''}.sock`),
    );
    const guest = image && {
      ...image,
      console: join(folder, 'console'),
      agent: join(folder, 'agent.sock'),
      writers: Array.from({ length: WRITERS }, (_, index) => join(folder, `writer${index}`)),
    };
    const backing = new Map<string, ChainImage[]>();
    for (const disk of options.disks) {
      if (disk.explicitChain && disk.path !== undefined) backing.set(disk.id, await imagesBelow(build, disk.path));
    }
    const { name, uuid, disks, memory = DEFAULT_MEMORY } = options;
    const saved = options.warm && image && (await this.#savedGuest(build, image, accelerator, options.warm, memory));
    const memoryFile = saved?.memory ?? options.memoryFile;
    const args = vmArguments({
      name,
      disks,
      backing,
      accelerator,
      monitors,
      ...(uuid === undefined ? {} : { uuid }),
      ...(guest === undefined ? {} : { guest }),
      style: options.style ?? 'blockdev',
      memory,
      ...(memoryFile === undefined ? {} : { memoryFile: { path: memoryFile, saved: saved !== undefined } }),
      extraArgs: options.extraArgs ?? [],
    });
    const machine = launch(build, folder, args);
    this.#machines.push(machine);
    await untilGreeted(machine, name, monitors);
    if (saved) {
      await restoreGuest(monitors[0] ?? '', saved);
      await checkSizes(monitors[0] ?? '', options.warm ?? []);
    }
    return new LabVm({ name, disks, qmpPaths: monitors, ...(guest === undefined ? {} : { guest }), ...machine });
  }

  /** A guest that has booted with disks of these sizes. */
  async #savedGuest(
    build: QemuBuild,
    image: GuestImage,
    accelerator: string,
    sizes: readonly number[],
    memory: number,
  ): Promise<SavedGuest> {
    const { label, version } = build;
    return await savedGuest({ label, version, image, accelerator, sizes, memory }, async (memoryFile, save) => {
      await using lab = await Lab.open({ name: 'guest to save', build });
      const paths = sizes.map((_, n) => join(lab.folder, `disk${n}.raw`));
      for (const [n, path] of paths.entries()) await lab.image({ path, format: 'raw', size: sizes[n] ?? 0 });
      const disks = paths.map((path, n): LabDisk => ({ id: `d${n}`, path, format: 'raw' }));
      const vm = await lab.startVm({ name: 'guest-to-save', disks, memory, memoryFile });
      await vm.booted();
      await save(vm.qmpPath);
    });
  }

  /** Ends every VM at once, undoes what was deferred, and removes the folder. */
  async [Symbol.asyncDispose](): Promise<void> {
    for (const machine of this.#machines) machine.process.kill('SIGKILL');
    await Promise.all(this.#machines.map(async (machine) => await machine.exited));
    endMirrorServers(this.folder);
    const failures: unknown[] = [];
    for (const cleanup of this.#cleanups.splice(0).reverse()) {
      try {
        await cleanup();
      } catch (error) {
        failures.push(error);
      }
    }
    open.delete(this);
    rmSync(this.folder, { recursive: true, force: true });
    if (failures.length > 0) throw new AggregateError(failures, `the lab '${this.name}' could not be cleaned up`);
  }

  /** What can be done when the process ends now: kills the VMs and removes the folder. Deferred work is not done. */
  abandon(): void {
    for (const machine of this.#machines) machine.process.kill('SIGKILL');
    endMirrorServers(this.folder);
    rmSync(this.folder, { recursive: true, force: true });
  }
}

/** The guest was saved with disks of these sizes and would not notice others: it would write past the end, or never to it. */
async function checkSizes(qmpPath: string, sizes: readonly number[]): Promise<void> {
  await using qmp = await QmpClient.connect({ path: qmpPath });
  const drives = await qmp.execute('query-block');
  const real = drives.flatMap(({ inserted }) => (inserted ? [inserted.image['virtual-size']] : []));
  const [found, wanted] = [real, sizes].map((list) => list.toSorted((a, b) => a - b).join(', '));
  if (found !== wanted) throw new LabError(`the saved guest has disks of ${wanted} bytes, and the VM of ${found}`);
}

/** The mirror server of a migration outlives who started it, for somebody to go on with; of this lab nobody does. */
function endMirrorServers(folder: string): void {
  for (const pid of readdirSync('/proc').filter((name) => /^\d+$/.test(name))) {
    let commandLine = '';
    try {
      commandLine = readFileSync(`/proc/${pid}/cmdline`, 'utf8');
      if (!commandLine.includes('--daemonize') || !commandLine.includes(`${folder}/`)) continue;
      process.kill(Number(pid), 'SIGKILL');
    } catch {
      // It has ended by itself.
      continue;
    }
    const sockets = /"path":"([^"]+)\/nbd\.sock"/.exec(commandLine)?.[1];
    if (sockets !== undefined) rmSync(sockets, { recursive: true, force: true });
  }
}

/** The images below the active one, nearest first. */
async function imagesBelow(build: QemuBuild, path: string): Promise<ChainImage[]> {
  const args = ['info', '-U', '--backing-chain', '--output=json', path];
  const { stdout } = await run(build.img, args, { env: { ...process.env, ...build.env } });
  const chain = JSON.parse(stdout) as { filename: string; format: string }[];
  return chain.slice(1).map((image) => ({ path: image.filename, format: image.format }));
}

/** A QEMU process. */
interface Machine {
  readonly process: ChildProcess;
  readonly exited: Promise<Exit>;
  readonly commandLine: readonly string[];
  /** The file that takes what QEMU prints. */
  readonly log: string;
}

function launch(build: QemuBuild, folder: string, args: readonly string[]): Machine {
  const log = join(folder, 'qemu.log');
  const descriptor = openSync(log, 'w');
  const commandLine = [build.system, ...build.systemArgs, ...args];
  // setpriv becomes QEMU, with its pid; the kernel kills it when this process dies, however it dies.
  const child = spawn('setpriv', ['--pdeathsig', 'KILL', '--', ...commandLine], {
    env: { ...process.env, ...build.env },
    stdio: ['ignore', descriptor, descriptor],
    cwd: folder,
  });
  closeSync(descriptor);
  const exited = new Promise<Exit>((resolve) => {
    child.once('exit', (status, signal) => resolve({ status, signal }));
    child.once('error', () => resolve({ status: 127, signal: null }));
  });
  return { process: child, exited, commandLine, log };
}

/** Waits until the monitors answer; throws what QEMU printed when it ends before. */
async function untilGreeted(machine: Machine, name: string, monitors: readonly string[]): Promise<void> {
  let exit: Exit | undefined;
  void machine.exited.then((how) => (exit = how));
  while (!(await answers(monitors))) {
    if (exit !== undefined) {
      const said = (await readFile(machine.log, 'utf8')).trim();
      throw new LabError(`QEMU of ${name} ended at once (${exit.signal ?? exit.status}): ${said}`);
    }
    await sleep(10);
  }
}

/** Whether each of the monitors sends its greeting: QEMU does so when it has set up all that is on its command line. */
async function answers(paths: readonly string[]): Promise<boolean> {
  for (const path of paths) {
    const greeted = await new Promise<boolean>((resolve) => {
      const socket = connect(path);
      socket.once('data', () => {
        socket.destroy();
        resolve(true);
      });
      socket.once('error', () => resolve(false));
      socket.once('close', () => resolve(false));
    });
    if (!greeted) return false;
  }
  return true;
}
