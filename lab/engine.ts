import { cp, readdir } from 'node:fs/promises';
import { join, relative } from 'node:path';
import { type Clock, run, systemClock } from '../src/base/index.ts';
import { Journal } from '../src/journal/index.ts';
import {
  DEFAULT_REQUEST,
  makePlan,
  Migration,
  type MigrationDeps,
  type MigrationEvent,
  type MigrationPlan,
  type MigrationRequest,
  type Outcome,
  planRefused,
  takeSurvey,
} from '../src/migration/index.ts';
import { QmpClient } from '../src/qmp/index.ts';
import { QemuVm, type VirtualMachine } from '../src/vm/index.ts';
import { checkWrites, type ReadDisk, type WriteCheck } from './acknowledged-writes.ts';
import { openChain } from './chain-reader.ts';
import type { GuestWriter, WriterOptions } from './guest-writer.ts';
import type { Lab, VmOptions } from './lab.ts';
import type { LabVm } from './lab-vm.ts';
import type { QemuBuild } from './qemu-builds.ts';
import type { LabDisk } from './vm-command-line.ts';
import type { WriteRecord } from './write-pattern.ts';

export interface EngineOptions {
  /** Connects to the VM. Default: over QMP. */
  readonly connect?: () => Promise<VirtualMachine>;
  readonly stateDir: string;
  readonly request: Partial<MigrationRequest>;
  /** Failures at exact moments. */
  readonly steps?: MigrationDeps['steps'];
  readonly clock?: Clock;
  readonly onProgress?: MigrationDeps['onProgress'];
  /** Called before it runs and at each event; may abort, pause and so on. */
  readonly watch?: (migration: Migration, event: MigrationEvent | undefined) => void;
}

export interface EngineResult {
  readonly outcome: Outcome;
  readonly plan: MigrationPlan;
  readonly events: readonly MigrationEvent[];
}

/** A busy machine without KVM may take long to drain a disk; tests of the limit set their own. */
const MAX_HOLD_MS = 10_000;

/**
 * Migrates disks of a lab's VM through the library, as the command line does.
 * @throws FerryError PLAN_REFUSED
 */
export async function migrate(vm: Pick<LabVm, 'qmpPath'>, options: EngineOptions): Promise<EngineResult> {
  const { clock = systemClock } = options;
  await using qemu = await (options.connect?.() ?? QemuVm.connect({ path: vm.qmpPath }, { clock }));
  using journal = Journal.open(options.stateDir, { clock });
  const result = makePlan(
    await takeSurvey(qemu, { ...DEFAULT_REQUEST, maxHoldMs: MAX_HOLD_MS, ...options.request }, clock),
  );
  if (result.plan === undefined) throw planRefused(qemu.identity.name, result.refusals);
  const events: MigrationEvent[] = [];
  let migration: Migration | undefined;
  const deps: MigrationDeps = {
    vm: qemu,
    journal,
    clock,
    ...(options.steps && { steps: options.steps }),
    ...(options.onProgress && { onProgress: options.onProgress }),
    onEvent: (event) => {
      events.push(event);
      if (migration) options.watch?.(migration, event);
    },
  };
  migration = await Migration.begin(result.plan, deps);
  await using _ = migration;
  options.watch?.(migration, undefined);
  return { outcome: await migration.run(), plan: result.plan, events };
}

/** Goes on with a migration that nobody drives, or rolls it back. @throws what `Migration.takeOver` throws */
export async function takeOver(
  vm: Pick<LabVm, 'qmpPath'>,
  options: Pick<EngineOptions, 'stateDir' | 'connect'> & { readonly id: string; readonly abort?: boolean },
): Promise<Outcome> {
  await using qemu = await (options.connect?.() ?? QemuVm.connect({ path: vm.qmpPath }));
  using journal = Journal.open(options.stateDir);
  await using migration = await Migration.takeOver(options.id, { vm: qemu, journal });
  if (options.abort) migration.control.abort();
  return await migration.run();
}

/** What a migration may leave behind: the files of some folders, and the VM's nodes and jobs. */
export interface Traces {
  readonly files: readonly string[];
  readonly nodes: readonly string[];
  readonly jobs: readonly string[];
}

/** Lists everything that could be litter. Implicit `#block` names are left out, as QEMU makes them anew. */
export async function traces(vm: Pick<LabVm, 'qmpPath'>, folders: readonly string[]): Promise<Traces> {
  const files: string[] = [];
  for (const folder of folders) files.push(...(await readdir(folder)).map((name) => join(folder, name)));
  await using qmp = await QmpClient.connect({ path: vm.qmpPath });
  const nodes = await qmp.execute('query-named-block-nodes', { flat: true });
  const jobs = await qmp.execute('query-jobs');
  return {
    files: files.toSorted(),
    nodes: nodes
      .map((node) => node['node-name'] ?? '')
      .filter((name) => !name.startsWith('#'))
      .toSorted(),
    jobs: jobs.map(({ id }) => id),
  };
}

/**
 * Which acknowledged writes does a chain lack?
 * @param before what the disk held before the first write; zeroes when absent
 */
export async function checkChain(
  image: { readonly path: string; readonly format: string; readonly build?: QemuBuild },
  record: WriteRecord,
  before?: ReadDisk,
): Promise<WriteCheck> {
  await using chain = await openChain(image.path, image.format, image.build);
  return await checkWrites(record, (offset, length) => chain.read(offset, length), before ? { before } : {});
}

/** A VM with recording writers on its disks, and untouched copies of the images that it began with. */
export interface LoadedVm {
  readonly vm: LabVm;
  readonly source: string;
  readonly target: string;
  readonly stateDir: string;
  /** The copies of the images that it began with: laid out as in the source folder. */
  readonly pristine: string;
  readonly writers: readonly GuestWriter[];
  /** Starts one more writer, which is checked like the others. */
  startWriter(writer: Parameters<LabVm['startWriter']>[0]): Promise<GuestWriter>;
  /**
   * Stops the writers and compares every acknowledged write, and every block that was never written, with the chain that
   * now holds the disk.
   */
  check(pathOf: (disk: LabDisk) => string): Promise<readonly WriteCheck[]>;
}

export interface LoadedVmOptions extends Omit<VmOptions, 'disks' | 'name'> {
  readonly name?: string;
  /** Makes the images in the source folder and says which disks the VM has; the folder is copied before it starts. */
  readonly disks: (source: string) => Promise<readonly LabDisk[]>;
  /** One writer for each disk that is written to. */
  readonly writers: (disks: readonly LabDisk[]) => readonly WriterOptions[];
  readonly sourceName?: string;
  readonly targetName?: string;
  /** Starts the VM. Default: QEMU itself. */
  readonly start?: (name: string, disks: readonly LabDisk[]) => Promise<LabVm>;
}

/** Boots a VM in the lab and waits until each writer has written something. */
export async function loadedVm(lab: Lab, options: LoadedVmOptions): Promise<LoadedVm> {
  const {
    name = 'vm',
    sourceName = 'source',
    targetName = 'target',
    disks,
    writers: writersOf,
    start,
    ...rest
  } = options;
  const source = await lab.storage(sourceName);
  const target = await lab.storage(targetName);
  const pristine = join(lab.folder, `pristine-${name.replaceAll(/\W/g, '')}`);
  const made = await disks(source);
  await cp(source, pristine, { recursive: true });
  const vm = await (start?.(name, made) ?? lab.startVm({ ...rest, name, disks: made }));
  const writers = await Promise.all(writersOf(made).map((writer) => vm.startWriter(writer)));
  await Promise.all(writers.map((writer) => writer.advanced(50)));
  return {
    vm,
    source,
    target,
    stateDir: await lab.storage('state'),
    pristine,
    writers,
    startWriter: async (options) => {
      const writer = await vm.startWriter(options);
      writers.push(writer);
      return writer;
    },
    check: async (pathOf) => {
      const checks: WriteCheck[] = [];
      for (const writer of writers) {
        const record = await writer.stop();
        const disk = made.find(({ id }) => id === writer.disk);
        if (disk?.path === undefined || disk.format === undefined) throw new Error(`no disk ${writer.disk}`);
        await using before = await openChain(join(pristine, relative(source, disk.path)), disk.format, lab.build);
        const image = { path: pathOf(disk), format: await formatOf(lab.build, pathOf(disk)), build: lab.build };
        checks.push(await checkChain(image, record, (offset, length) => before.read(offset, length)));
      }
      return checks;
    },
  };
}

/** The format of an image that this lab made: qcow2 by its first bytes, else raw. */
async function formatOf(build: QemuBuild, path: string): Promise<string> {
  const { stdout } = await run(build.img, ['info', '-U', '--output=json', path], {
    env: { ...process.env, ...build.env },
  });
  return (JSON.parse(stdout) as { format: string }).format;
}
