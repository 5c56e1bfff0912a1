import { cp, mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { messageOf } from '../../src/base/index.ts';
import { Journal } from '../../src/journal/index.ts';
import { childCommand } from '../migration-process.ts';
import { Lab, type QemuBuild } from '../index.ts';
import type { Choices, RequestChoice } from './choices.ts';
import type { ImageStock } from './layout.ts';
import { type End, filesOf, findLitter, findProcesses, litterInGuest } from './litter.ts';
import { Manager } from './manager.ts';
import { endOf, type Flow, recover } from './recovery.ts';
import { Scene } from './scene.ts';
import { snapshotFlow } from './snapshot-flow.ts';
import { type Life, lifeOf, strike } from './strike.ts';
import type { Hypervisor, TrialVm } from './trial-vm.ts';

export interface TrialResult {
  readonly seed: number;
  /** Who was killed. */
  readonly killed: string;
  /** Where the manager was then. */
  readonly phase: string;
  /** The commands that ended it. */
  readonly recovery: string;
  readonly outcome: End['outcome'];
  readonly acknowledged: number;
  /** Acknowledged writes that are not there, blocks that changed without one, damaged images. */
  readonly lost: number;
  /** What the disks hold instead, in words: the first of them. */
  readonly found: readonly string[];
  /** Files, nodes, jobs, processes and ledger entries that should not be there, in words. */
  readonly litter: readonly string[];
  readonly ms: number;
}

/** Where trials run. */
export interface Bench {
  readonly build: QemuBuild;
  readonly stock: ImageStock;
  readonly hypervisor: Hypervisor;
  /** Takes a folder for each trial that fails. */
  readonly evidence: string;
}

/** For tests of the trial itself. */
export interface Tampering {
  /** Called when all is dead that is to die, and nobody has recovered yet. */
  readonly beforeRecovery?: (scene: Scene) => Promise<void>;
}

/** No step of a trial takes longer, but on a machine that is much too busy. */
const LIMIT_MS = 400_000;

/** What a trial has made so far; all of it is evidence when it fails. */
interface Doings {
  readonly managers: Manager[];
  trialVm?: TrialVm;
}

/** One migration, killed and recovered. @throws Error when it did not come to an end; the evidence is kept then, too */
export async function runTrial(bench: Bench, choices: Choices, tampering: Tampering = {}): Promise<TrialResult> {
  await using lab = await Lab.open({ name: 'torture', build: bench.build });
  const doings: Doings = { managers: [] };
  const limit = new AbortController();
  try {
    const late = sleep(LIMIT_MS, undefined, { signal: limit.signal, ref: false }).then(() => {
      throw new Error(`no end after ${LIMIT_MS / 1000} s`);
    });
    const result = await Promise.race([inLab(lab, bench, choices, doings, tampering), late]);
    if (result.lost > 0 || result.litter.length > 0) await keep(lab, bench, choices, doings, result);
    return result;
  } catch (error) {
    const folder = await keep(lab, bench, choices, doings, { error: messageOf(error) });
    throw new Error(`${messageOf(error)}; see ${folder}`, { cause: error });
  } finally {
    limit.abort();
  }
}

async function inLab(
  lab: Lab,
  { stock, hypervisor }: Bench,
  choices: Choices,
  doings: Doings,
  tampering: Tampering,
): Promise<TrialResult> {
  const began = performance.now();
  const scene = await Scene.open(lab, stock, choices.layout, hypervisor);
  const { trialVm, writers, stateDir } = scene;
  doings.trialVm = trialVm;
  const before = await filesOf(scene);
  const life = lifeOf(trialVm);
  const { phase, commands, copied } = choices.snapshot
    ? await snapshotFlow(scene, choices, choices.snapshot, life, doings.managers)
    : await migrationFlow(scene, choices, life, doings.managers, tampering);
  const end = endOf(stateDir);
  const images = imagesAfter(scene, end);
  const litter = await findLitter(scene, before, end, copied);
  const alive = life.alive();
  // It writes on, and nothing is held.
  if (alive) await Promise.all(writers.map((writer) => writer.advanced(2)));
  litter.push(...(await trialVm.litter({ alive, images, back: end.outcome === 'rolled-back' })));
  if (alive) litter.push(...(await litterInGuest(trialVm.vm)));
  await Promise.all(writers.map((writer) => writer.stop()));
  await life.kill();
  litter.push(...(await findProcesses(lab.folder, [process.pid])));
  const checks = await scene.check(images);
  return {
    seed: choices.seed,
    killed: choices.blow.dies,
    phase,
    recovery: commands.join(', '),
    outcome: end.outcome,
    acknowledged: checks.reduce((sum, { acknowledged }) => sum + acknowledged, 0),
    lost: checks.reduce((sum, { lost }) => sum + lost, 0),
    found: checks.flatMap(({ found }) => found),
    litter,
    ms: Math.round(performance.now() - began),
  };
}

/** A migration that is killed, and brought to an end. */
async function migrationFlow(
  scene: Scene,
  choices: Choices,
  life: Life,
  managers: Manager[],
  { beforeRecovery }: Tampering,
): Promise<Flow> {
  const migrate = migrateArguments(scene, choices.request);
  const manager = begin(scene, choices, migrate);
  managers.push(manager);
  await manager.until(choices.moment);
  await manager.refuseFailure();
  const phase = phaseOf(choices, manager);
  await strike(choices.blow, manager, life);
  await manager.ended;
  await beforeRecovery?.(scene);
  return { phase, commands: await recover(scene, choices, migrate, life, managers), copied: [] };
}

function migrateArguments({ trialVm, target, stateDir }: Scene, request: RequestChoice): string[] {
  const { verify, fold, keepSource, leaveLink, bandwidth, mirrorServer } = request;
  return [
    'migrate',
    '--yes',
    ...trialVm.named,
    '--to',
    target,
    '--state-dir',
    stateDir,
    ...(verify ? [] : ['--no-verify']),
    ...(fold ? [] : ['--no-fold']),
    ...(keepSource ? ['--keep-source'] : []),
    ...(leaveLink ? ['--leave-link'] : []),
    ...(mirrorServer ? [] : ['--no-mirror-server']),
    ...(bandwidth === 0 ? [] : ['--bwlimit', String(bandwidth)]),
  ];
}

/** One that is to kill itself is a process of the lab; else it is the command. */
function begin(
  { trialVm, target, stateDir }: Scene,
  { moment, request }: Choices,
  migrate: readonly string[],
): Manager {
  if (moment.kind !== 'exact') return Manager.blockferry(...migrate);
  const { death } = moment;
  return new Manager(childCommand({ ...trialVm.address, stateDir, request: { ...request, to: target }, death }));
}

function phaseOf({ moment }: Choices, manager: Manager): string {
  if (!manager.running && moment.kind !== 'exact') return 'after the end';
  return moment.kind === 'exact' ? `${moment.death.step} (${moment.death.when})` : manager.step;
}

/** The images that hold the disks now. */
function imagesAfter({ disks }: Scene, { outcome, plan }: End): { path: string; format: string }[] {
  return disks.map(({ path = '', format = 'raw' }) => {
    const disk = outcome === 'done' ? plan?.disks.find(({ active }) => active.path === path) : undefined;
    if (disk === undefined) return { path, format };
    return plan?.request.fold ? { path: disk.target, format } : { path: disk.targetOverlay, format: 'qcow2' };
  });
}

/** Copies all that is left of a trial that failed. */
async function keep(
  lab: Lab,
  { evidence }: Bench,
  choices: Choices,
  { managers, trialVm }: Doings,
  result: object,
): Promise<string> {
  const folder = join(evidence, `seed-${choices.seed}`);
  await mkdir(folder, { recursive: true });
  await cp(lab.folder, join(folder, 'lab'), {
    recursive: true,
    force: true,
    filter: (path) => !path.endsWith('.sock'),
  }).catch((error: unknown) => writeFile(join(folder, 'not-copied'), messageOf(error)));
  const said = managers.flatMap((manager) => [...manager.said, '']);
  await writeFile(join(folder, 'said'), said.join('\n'));
  if (trialVm) await writeFile(join(folder, 'vm'), await trialVm.evidence().catch(messageOf));
  await writeFile(join(folder, 'events'), events(join(lab.folder, 'state')));
  await writeFile(join(folder, 'trial.json'), JSON.stringify({ choices, result }, undefined, 2));
  return folder;
}

function events(stateDir: string): string {
  try {
    using journal = Journal.open(stateDir, { readOnly: true });
    return journal
      .events()
      .map((event) => JSON.stringify(event))
      .join('\n');
  } catch (error) {
    return messageOf(error);
  }
}
