import { copyFile, mkdir, mkdtemp, readdir, readlink, rename, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { run } from '../src/base/index.ts';
import { type MirrorCopyMode, QmpClient } from '../src/qmp/index.ts';
import { checkWrites, type WriteCheck } from './acknowledged-writes.ts';
import { openChain } from './chain-reader.ts';
import type { NbdClient } from './nbd-client.ts';
import { ProtocolSteps } from './protocol-steps.ts';
import type { QemuBuild } from './qemu-builds.ts';
import { RecordingWriter } from './recording-writer.ts';
import { type BlockNode, StorageDaemon } from './storage-daemon.ts';
import type { WriteRecord } from './write-pattern.ts';

/** Bytes of each disk of a rig. */
export const DISK_SIZE: number = 8 * 2 ** 20;
/** Every byte of a disk before the first write: a block that a copy zeroed shows. */
const FILL = 0xab;
const PATTERN = { region: { offset: 0, length: DISK_SIZE }, zeroEvery: 0, discardEvery: 0 };
export const SUBCLUSTERS: string = 'extended_l2=on,cluster_size=128k';

export interface RigOptions {
  readonly build: QemuBuild;
  /** Bytes of each write. Default 4096. */
  readonly blockSize?: number;
  /** Options of the overlays' format. Default: subclusters of 4 KiB, as a migration makes them. */
  readonly overlay?: string;
  /** The disks' names. Default: one, `a`. */
  readonly disks?: readonly string[];
  readonly baseFormat?: 'qcow2' | 'raw';
  /** No writer runs until `startWriters`. */
  readonly idle?: boolean;
  /** Writes in flight on each disk. Default 2. */
  readonly depth?: number;
  /**
   * The disks' images are empty qcow2 on one image `root` that they share: opened once, as a node with that name, or by
   * each disk for itself, as the header says.
   */
  readonly sharedRoot?: 'named' | 'implicit';
  /** Objects that the nodes use. */
  readonly objects?: readonly BlockNode[];
  /** Nodes above the active node, in the order in which they are added; the last one is exported. */
  readonly above?: (disk: string) => readonly (BlockNode & { readonly 'node-name': string })[];
}

/** Fills an image with what every disk of a rig holds at first. */
export async function makeBase(
  build: QemuBuild,
  path: string,
  format: string,
  size: number = DISK_SIZE,
): Promise<void> {
  const raw = `${path}.fill`;
  await writeFile(raw, Buffer.alloc(size, FILL));
  const env = { ...process.env, ...build.env };
  if (format === 'raw') await rename(raw, path);
  else await run(build.img, ['convert', '-f', 'raw', '-O', format, raw, path], { env });
  await rm(raw, { force: true });
}

/** An empty overlay with a relative backing name that is not opened. */
export async function makeOverlay(
  build: QemuBuild,
  path: string,
  backing: string,
  format: string,
  options: string = SUBCLUSTERS,
): Promise<void> {
  const args = ['create', '-q', '-f', 'qcow2', '-u', '-b', backing, '-F', format, '-o', options, path];
  await run(build.img, [...args, String(DISK_SIZE)], { env: { ...process.env, ...build.env } });
}

/** The files under a folder that a process has open, by their path in it, sorted; each once. */
export async function openFilesUnder(pid: number, folder: string): Promise<string[]> {
  const descriptors = await readdir(`/proc/${pid}/fd`);
  const targets = await Promise.all(descriptors.map((fd) => readlink(`/proc/${pid}/fd/${fd}`).catch(() => '')));
  const inside = targets.filter((target) => target.startsWith(`${folder}/`));
  return [...new Set(inside.map((target) => target.slice(folder.length + 1)))].sort();
}

/**
 * Disks of a storage daemon that recording writers keep busy, on a source folder with an empty target folder: what the
 * protocol's tests run on. Each disk has `X.base` and an empty overlay `X.ov` on either side.
 */
export class Rig implements AsyncDisposable {
  readonly build: QemuBuild;
  readonly disks: readonly string[];
  readonly daemon: StorageDaemon;
  readonly steps: ProtocolSteps;
  readonly folder: string;
  readonly clients: ReadonlyMap<string, NbdClient>;
  readonly writers: Map<string, RecordingWriter> = new Map();
  readonly #load: { readonly blockSize: number; readonly depth: number };

  private constructor(
    parts: Pick<Rig, 'build' | 'disks' | 'daemon' | 'steps' | 'folder' | 'clients'>,
    load: { readonly blockSize: number; readonly depth: number },
  ) {
    this.#load = load;
    this.build = parts.build;
    this.disks = parts.disks;
    this.daemon = parts.daemon;
    this.steps = parts.steps;
    this.folder = parts.folder;
    this.clients = parts.clients;
  }

  static async start(options: RigOptions): Promise<Rig> {
    const { build, disks = ['a'], baseFormat = 'qcow2', depth = 2, blockSize = 4096 } = options;
    const folder = await mkdtemp(join(tmpdir(), 'rig-'));
    const source = join(folder, 'source');
    const target = join(folder, 'target');
    await Promise.all([mkdir(source), mkdir(target)]);
    if (options.sharedRoot !== undefined) await makeBase(build, join(source, 'root'), 'qcow2');
    for (const disk of disks) {
      const path = join(source, `${disk}.base`);
      if (options.sharedRoot === undefined) await makeBase(build, path, baseFormat);
      else await makeOverlay(build, path, 'root', 'qcow2');
      for (const side of [source, target]) {
        await makeOverlay(build, join(side, `${disk}.ov`), `${disk}.base`, baseFormat, options.overlay);
      }
    }
    const named = options.sharedRoot === 'named';
    const root = { driver: 'qcow2', 'node-name': 'root', 'read-only': true };
    const diskNodes = disks.flatMap((disk) => {
      const file = { driver: 'file', filename: join(source, `${disk}.base`) };
      const below = named ? { backing: 'root' } : {};
      const base = { driver: baseFormat, 'node-name': `base-${disk}`, file, ...below };
      return [base, ...(options.above?.(disk) ?? [])];
    });
    const top = (disk: string): string => options.above?.(disk).at(-1)?.['node-name'] ?? `base-${disk}`;
    const exports = disks.map((disk) => ({ name: disk, node: top(disk) }));
    const rootNodes = named ? [{ ...root, file: { driver: 'file', filename: join(source, 'root') } }] : [];
    const nodes = [...rootNodes, ...diskNodes];
    const daemon = await StorageDaemon.start({
      directory: folder,
      nodes,
      objects: options.objects ?? [],
      exports,
      build,
    });
    const qmp = await QmpClient.connect({ path: daemon.qmpSocket });
    const clients = new Map<string, NbdClient>();
    for (const disk of disks) clients.set(disk, await daemon.connect(disk));
    const steps = new ProtocolSteps(qmp, { source, target }, baseFormat);
    const rig = new Rig({ build, disks, daemon, steps, folder, clients }, { blockSize, depth });
    if (!options.idle) rig.startWriters();
    return rig;
  }

  get qmp(): QmpClient {
    return this.steps.qmp;
  }

  get jobs(): string[] {
    return this.disks.map((disk) => `m-${disk}`);
  }

  startWriters(): void {
    for (const [disk, client] of this.clients) {
      const seed = this.disks.indexOf(disk) + 1;
      this.writers.set(disk, RecordingWriter.start(client, { ...PATTERN, ...this.#load, disk, seed }));
    }
  }

  writer(disk: string): RecordingWriter {
    return this.writers.get(disk) as RecordingWriter;
  }

  /** Waits until every disk has had so many more acknowledged writes. */
  async written(count: number): Promise<void> {
    await Promise.all([...this.writers.values()].map((writer) => writer.more(count)));
  }

  /**
   * Does something with no write in flight. A mirror is started so: QEMU 10.0 loses writes that are in flight while the
   * job starts (mended upstream by "mirror: Fix missed dirty bitmap writes during startup"; one run of six here).
   */
  async whileQuiet(action: () => Promise<void>): Promise<void> {
    await Promise.all([...this.writers.values()].map((writer) => writer.pause()));
    await action();
    for (const writer of this.writers.values()) writer.resume();
  }

  /** From the snapshot to a mirror that is ready, with the base copied: under load but for the mirror's start. */
  async mirrored(options: { backing?: (disk: string) => string | null; mode?: MirrorCopyMode } = {}): Promise<void> {
    const { backing = (disk) => `base-${disk}`, mode } = options;
    await this.written(50);
    await this.steps.snapshot(this.disks);
    for (const disk of this.disks) await this.steps.addTarget(disk, backing(disk));
    await this.whileQuiet(async () => {
      for (const disk of this.disks) await this.steps.mirror(disk, mode);
      await this.steps.reached(this.jobs, 'ready');
    });
    for (const disk of this.disks) {
      await this.copyBase(disk);
      await this.steps.addTargetChain(disk);
    }
    await this.written(100);
  }

  /** The pivot: complete all, reopen the targets on their own chains while I/O is held, finalize all. */
  async pivot(): Promise<void> {
    await this.steps.complete(this.jobs);
    await this.steps.reopenTargets(this.disks, (disk) => `dbase-${disk}`);
    await this.steps.finalize(this.jobs);
  }

  async copyBase(disk: string): Promise<void> {
    const names = (await readdir(this.steps.source)).filter((name) => name === 'root' || name === `${disk}.base`);
    for (const name of names) await copyFile(join(this.steps.source, name), join(this.steps.target, name));
  }

  /** Stops the writers, and checks each disk as its user sees it now. */
  async checkLive(): Promise<WriteCheck[]> {
    return await Promise.all(
      this.disks.map(async (disk) => {
        const record = await this.writer(disk).stop();
        const client = this.clients.get(disk) as NbdClient;
        if (this.writer(disk).failure) throw this.writer(disk).failure as Error;
        return await check(record, (offset, length) => client.read(offset, length));
      }),
    );
  }

  /** Kills the daemon without a chance to flush, hides the other side, and checks what the files of one side hold. */
  async checkFiles(side: 'source' | 'target', top: (disk: string) => string): Promise<WriteCheck[]> {
    for (const writer of this.writers.values()) await writer.stop();
    await this.daemon.kill();
    const other = side === 'source' ? this.steps.target : this.steps.source;
    await rename(other, `${other}.hidden`);
    const checks: WriteCheck[] = [];
    for (const disk of this.disks) {
      const path = join(this.steps[side], top(disk));
      const format = top(disk).endsWith('.base') ? this.steps.baseFormat : 'qcow2';
      await using chain = await openChain(path, format, this.build);
      checks.push(await check(this.writer(disk).record(), (offset, length) => chain.read(offset, length)));
    }
    await rename(`${other}.hidden`, other);
    return checks;
  }

  /** The files of one side that the daemon has open. */
  async openFiles(side: 'source' | 'target'): Promise<string[]> {
    return await openFilesUnder(this.daemon.pid, this.steps[side]);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.qmp.close();
    await this.daemon.kill();
    for (const writer of this.writers.values()) await writer.stop();
    await rm(this.folder, { recursive: true, force: true });
  }
}

const before = (_offset: number, length: number): Promise<Buffer> => Promise.resolve(Buffer.alloc(length, FILL));

async function check(
  record: WriteRecord,
  read: (offset: number, length: number) => Promise<Buffer>,
): Promise<WriteCheck> {
  return await checkWrites(record, read, { before });
}

/** How many blocks of all the checks are wrong. */
export function wrongBlocks(checks: readonly WriteCheck[]): number {
  return checks.reduce((sum, { lostCount, damagedCount }) => sum + lostCount + damagedCount, 0);
}
