import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { Journal } from '../../src/journal/index.ts';
import { STEPS } from '../../src/migration/index.ts';
import { loadedVm, type LoadedVm, traces } from '../engine.ts';
import { Lab, type LabDisk, type QemuBuild } from '../index.ts';
import { Manager } from './manager.ts';
import type { Random } from './random.ts';

const MiB = 2 ** 20;

export interface TrialResult {
  readonly killed: 'manager' | 'QEMU' | 'both';
  readonly phase: string;
  /** The commands that ended it. */
  readonly recovery: string;
  readonly outcome: 'done' | 'rolled-back';
  readonly acknowledged: number;
  /** Acknowledged writes that are not there, and blocks that changed without one. */
  readonly lost: number;
  /** Files, nodes, jobs and ledger entries that should not be there, in words. */
  readonly litter: readonly string[];
}

/** One migration, killed at a random moment and recovered. @throws Error when it did not come to an end */
export async function runTrial(build: QemuBuild, random: Random): Promise<TrialResult> {
  await using lab = await Lab.open({ name: 'torture', build });
  const count = random.pick([1, 2, 3]);
  const style = random.pick(['blockdev', 'drive'] as const);
  const loaded = await loadedVm(lab, {
    style,
    disks: (source) => Promise.all(Array.from({ length: count }, (_, n) => makeDisk(lab, source, n, random))),
    writers: (disks) =>
      disks.map(({ id }, n) => ({ disk: id, seed: n + 1, region: { offset: 0, length: 24 * MiB }, rate: 200 })),
  });
  const { vm, source, target, stateDir } = loaded;
  const before = await traces(vm, [source, target]);
  const state = ['--state-dir', stateDir];
  const options = [...(random.chance(0.2) ? ['--no-verify'] : []), ...(random.chance(0.2) ? ['--no-fold'] : [])];
  const noFold = options.includes('--no-fold');
  const manager = new Manager(['migrate', '--yes', '--qmp', vm.qmpPath, '--to', target, ...state, ...options]);

  const killed = random.pick(['manager', 'QEMU', 'both'] as const);
  await moment(manager, random);
  const phase = manager.step;
  if (killed !== 'QEMU') manager.kill();
  if (killed !== 'manager') process.kill(vm.pid, 'SIGKILL');
  await manager.ended;
  if (killed !== 'manager') await vm.exited;

  const recovery = await recover(stateDir, state, random);
  const outcome = outcomeOf(stateDir) ?? 'rolled-back';
  const [holds, other] = outcome === 'done' ? [target, source] : [source, target];
  const checks = await loaded.check(({ path = '' }) => activeImage(loaded, path, outcome, noFold));
  const litter: string[] = [];
  const extra = new Set(await overlaysKept(target, noFold && outcome === 'done'));
  const wanted = before.files.map((path) => path.replace(source, holds)).toSorted();
  const found = [...(await list(holds)), ...(await list(other))].filter((path) => !extra.has(path)).toSorted();
  if (found.join('\n') !== wanted.join('\n')) litter.push(`files ${found.join(', ')} instead of ${wanted.join(', ')}`);
  litter.push(...litterOfJournal(stateDir));
  if (killed === 'manager') {
    const now = await traces(vm, []);
    litter.push(...now.jobs.map((job) => `job ${job}`));
    if (outcome === 'rolled-back' && now.nodes.join() !== before.nodes.join())
      litter.push(`nodes ${now.nodes.join(', ')}`);
    const errors = await vm.ioErrors();
    litter.push(...errors.map((error) => `guest error: ${error}`));
  }
  return {
    killed,
    phase,
    recovery,
    outcome,
    acknowledged: checks.reduce((sum, check) => sum + check.acknowledged, 0),
    lost: checks.reduce((sum, check) => sum + check.lostCount + check.damagedCount, 0),
    litter,
  };
}

async function makeDisk(lab: Lab, source: string, n: number, random: Random): Promise<LabDisk> {
  const format = random.pick(['qcow2', 'raw'] as const);
  const path = join(source, `disk${n}.${format}`);
  await lab.image({ path, format, size: 32 * MiB, fill: { bytes: (8 + random.integer(20)) * MiB, seed: n + 1 } });
  return { id: `d${n}`, path, format };
}

/** A random moment: some milliseconds after a step of the migration has begun or ended. */
async function moment(manager: Manager, random: Random): Promise<void> {
  const steps = STEPS.flatMap((step) => [`${step} (begun)`, `${step} (done)`]);
  const step = steps[random.integer(steps.length)] ?? '';
  await manager.reached(step);
  await sleep(random.pick([0, 1, 3, 10, 30, 100, 300]) * (1 + random.integer(3)));
}

/** Runs `resume`, `abort` or `recover` until the journal says that nothing is unfinished; the first ones may be killed as well. */
async function recover(stateDir: string, state: readonly string[], random: Random): Promise<string> {
  const commands: string[] = [];
  for (let round = 0; round < 6; round++) {
    const id = unfinished(stateDir);
    if (id === undefined) return commands.join(', ') || 'nothing to recover';
    const ways = ['resume', 'recover', 'recover --back', ...(committed(stateDir, id) ? [] : ['abort'])] as const;
    const command = ways[random.integer(ways.length)] ?? 'resume';
    const recovery = new Manager([...command.split(' '), id, ...state]);
    if (round < 2 && random.chance(0.3)) {
      await sleep(200 + random.integer(1500));
      recovery.kill();
      commands.push(`${command} (killed)`);
    } else {
      commands.push(command);
    }
    await recovery.ended;
    if (round === 5)
      throw new Error(`still unfinished after ${commands.join(', ')}: ${recovery.said.slice(-3).join(' ')}`);
  }
  return commands.join(', ');
}

function unfinished(stateDir: string): string | undefined {
  using journal = Journal.open(stateDir, { readOnly: true });
  return journal.migrations({ unfinished: true })[0]?.id;
}

function committed(stateDir: string, id: string): boolean {
  using journal = Journal.open(stateDir, { readOnly: true });
  return journal.commitRecord(id, 'pivot') !== undefined;
}

function outcomeOf(stateDir: string): 'done' | 'rolled-back' | undefined {
  using journal = Journal.open(stateDir, { readOnly: true });
  const state = journal.migrations()[0]?.state;
  return state === 'done' || state === 'rolled-back' ? state : undefined;
}

function litterOfJournal(stateDir: string): string[] {
  using journal = Journal.open(stateDir, { readOnly: true });
  return journal
    .migrations()
    .flatMap(({ id }) => journal.ledger(id, { states: ['planned', 'made'] }))
    .map(({ kind, name }) => `in the ledger: ${kind} ${name}`);
}

/** The image that holds a disk now. */
function activeImage({ source, target, stateDir }: LoadedVm, path: string, outcome: string, noFold: boolean): string {
  if (outcome !== 'done') return path;
  if (!noFold) return path.replace(source, target);
  using journal = Journal.open(stateDir, { readOnly: true });
  const plan = journal.migrations()[0]?.plan as { disks: { active: { path: string }; targetOverlay: string }[] };
  return plan.disks.find(({ active }) => active.path === path)?.targetOverlay ?? path;
}

async function list(folder: string): Promise<string[]> {
  return (await readdir(folder)).map((name) => join(folder, name));
}

/** With --no-fold the target's overlays stay, as asked. */
async function overlaysKept(target: string, kept: boolean): Promise<string[]> {
  return kept ? (await list(target)).filter((path) => path.endsWith('.overlay.qcow2')) : [];
}
