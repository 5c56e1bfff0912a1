// How long a guest's I/O is held by a migration: real guests under load, their disks moved to and fro between two folders.
//
//     node bench/pivot.ts [--disks 1,2,8] [--runs 5] [--iops 100 (writes per second and disk)] [--builds installed,backports]
//
// Figures are medians (minimum to maximum) of the runs, in milliseconds:
//   pivot, fold  first `job-complete` to last `job-finalize`, as blockferry measures it itself
//   start        the longest that the processors stood still while mirrors or folds were started; 0 where they need not
//   snapshot     opening the overlays and the `transaction`: no shorter than what the guest's I/O stalls for
//   worst write  the slowest of the guest's own writes from the beginning of the migration to its end, all disks
//   sync         writing 4 KiB and fdatasync on the same storage, before each run: what the machine is able to now
// Ratios: of the pivot to that of the fewest disks, and to `sync`, which takes part of the machine's noise out.
import { mkdirSync, openSync, fdatasyncSync, writeSync, closeSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { migrate } from '../lab/engine.ts';
import { Lab, type LabDisk, type LabVm, type QemuBuild, qemuBuilds } from '../lab/index.ts';
import { STEP, type StepTable } from '../src/migration/steps/index.ts';
import type { VirtualMachine } from '../src/vm/index.ts';

const MiB = 2 ** 20;
const SIZE = 64 * MiB;

const { values: options } = parseArgs({
  options: {
    disks: { type: 'string', default: '1,2,8' },
    runs: { type: 'string', default: '5' },
    iops: { type: 'string', default: '100' },
    builds: { type: 'string', default: 'installed,backports' },
  },
});
const counts = options.disks.split(',').map(Number);
const runs = Number(options.runs);

interface Sample {
  readonly pivot: number;
  readonly fold: number;
  readonly start: number;
  readonly snapshot: number;
  readonly worstWrite: number;
  readonly sync: number;
}

/** The real steps, with a clock beside the snapshot. */
function timedSteps(took: (ms: number) => void): StepTable {
  const act: StepTable['snapshot']['act'] = async (run) => {
    const { vm } = run;
    const snapshot: VirtualMachine['snapshot'] = async (overlays) => {
      const began = performance.now();
      await vm.snapshot(overlays);
      took(performance.now() - began);
    };
    const timed = new Proxy(vm, {
      get(target, key) {
        if (key === 'snapshot') return snapshot;
        const value: unknown = Reflect.get(target, key, target);
        return typeof value === 'function' ? (value.bind(target) as unknown) : value;
      },
    });
    await STEP.snapshot.act({ ...run, vm: timed });
  };
  return { ...STEP, snapshot: { ...STEP.snapshot, act } };
}

/** Milliseconds for one small durable write in this folder: the median of nine. */
function syncTime(folder: string): number {
  const path = join(folder, 'sync-probe');
  const file = openSync(path, 'w');
  const block = Buffer.alloc(4096, 1);
  const times = Array.from({ length: 9 }, (_, n) => {
    const began = performance.now();
    writeSync(file, block, 0, block.length, n * block.length);
    fdatasyncSync(file);
    return performance.now() - began;
  });
  closeSync(file);
  rmSync(path);
  return median(times);
}

async function measureOnce(vm: LabVm, disks: readonly LabDisk[], to: string, stateDir: string): Promise<Sample> {
  const sync = syncTime(to);
  const loads = await Promise.all(
    disks.map(({ id }) => vm.startFio({ disk: id, pattern: 'randwrite', depth: 4, iops: Number(options.iops) })),
  );
  let snapshot = Number.NaN;
  const { outcome, events } = await migrate(vm, {
    stateDir,
    request: { to },
    steps: timedSteps((ms) => {
      snapshot = ms;
    }),
  });
  if (outcome.kind !== 'done') throw new Error(outcome.message);
  const results = await Promise.all(loads.map((load) => load.stop()));
  const error = results.find((result) => result.error !== 0)?.error;
  if (error !== undefined) throw new Error(`the guest saw an I/O error (errno ${error})`);
  const held = (kind: 'pivot' | 'fold'): number => {
    for (const event of events) if (event.type === 'held' && event.kind === kind) return event.ms;
    throw new Error(`the ${kind} is not among the events`);
  };
  return {
    pivot: held('pivot'),
    fold: held('fold'),
    start: Math.max(0, ...events.map((event) => (event.type === 'held' && event.kind === 'start' ? event.ms : 0))),
    snapshot,
    worstWrite: Math.max(...results.map(({ write }) => write.latencyMs.max)),
    sync,
  };
}

async function measure(build: QemuBuild, count: number): Promise<readonly Sample[]> {
  await using lab = await Lab.open({ name: `pivot ${count}`, build });
  const [here, there] = [await lab.storage('here'), await lab.storage('there')];
  const disks: LabDisk[] = [];
  for (let n = 0; n < count; n += 1) {
    const path = join(here, `disk${n}.qcow2`);
    await lab.image({ path, format: 'qcow2', size: SIZE, fill: { bytes: SIZE / 2, seed: n + 1 } });
    disks.push({ id: `d${n}`, path, format: 'qcow2' });
  }
  const vm = await lab.startVm({ name: `bench${count}`, disks });
  await vm.booted();
  const stateDir = join(lab.folder, 'state');
  mkdirSync(stateDir, { mode: 0o700 });
  const samples: Sample[] = [];
  for (let n = 0; n < runs; n += 1) {
    samples.push(await measureOnce(vm, disks, n % 2 === 0 ? there : here, stateDir));
  }
  return samples;
}

function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b);
  const middle = (sorted.length - 1) / 2;
  return ((sorted[Math.floor(middle)] ?? Number.NaN) + (sorted[Math.ceil(middle)] ?? Number.NaN)) / 2;
}

function figures(values: readonly number[]): string {
  return `${median(values).toFixed(1)} (${Math.min(...values).toFixed(1)} to ${Math.max(...values).toFixed(1)})`;
}

const columns = ['pivot', 'fold', 'start', 'snapshot', 'worstWrite', 'sync'] as const;
const { builds, missing } = await qemuBuilds();
for (const { label, reason } of missing) console.warn(`not measured on QEMU of ${label}: ${reason}`);
console.log(`${runs} runs each, ${options.iops} random 4 KiB writes per second and disk; ms: median (min to max)\n`);
console.log(
  '| QEMU | disks | pivot | fold | start | snapshot | worst write | sync | pivot / fewest disks | pivot / sync |',
);
console.log('|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|');
for (const build of builds.filter(({ label }) => options.builds.split(',').includes(label))) {
  let fewest = Number.NaN;
  for (const count of counts) {
    const samples = await measure(build, count);
    const pivot = median(samples.map((sample) => sample.pivot));
    if (Number.isNaN(fewest)) fewest = pivot;
    const bySync = median(samples.map((sample) => sample.pivot / sample.sync));
    const cells = columns.map((column) => figures(samples.map((sample) => sample[column])));
    const ratios = [(pivot / fewest).toFixed(2), bySync.toFixed(1)];
    console.log(`| ${[build.version, count, ...cells, ...ratios].join(' | ')} |`);
  }
}
