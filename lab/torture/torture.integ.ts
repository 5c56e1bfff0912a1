import { type ChildProcess, spawn } from 'node:child_process';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { Journal } from '../../src/journal/index.ts';
import type { MigrationPlan } from '../../src/migration/index.ts';
import { Lab, qemuBuilds } from '../index.ts';
import { type Choices, choose } from './choices.ts';
import { ImageStock } from './layout.ts';
import { PLAIN_QEMU } from './plain-qemu.ts';
import { report } from './results.ts';
import { runTrials } from './run-trials.ts';
import type { Scene } from './scene.ts';
import { runTrial, type Tampering, type TrialResult } from './trial.ts';
import { PLAIN_REQUEST, twoDisks } from './two-disks.ts';

const { builds } = await qemuBuilds();
let evidence: string;
beforeAll(async () => (evidence = await mkdtemp(join(tmpdir(), 'torture-evidence-'))));

/** Every trial of CI, in words: a failing one says where its evidence is. */
const said: string[] = [];
afterAll(async () => {
  console.log(said.join('\n'));
  if (!said.some((line) => line.startsWith('FAIL'))) await rm(evidence, { recursive: true });
});

describe.each(builds)('QEMU $version ($label)', (build) => {
  // The first build is the machine's own. These are to see that trials and engine are sound; `npm run torture` runs as many as
  // one has time for, with other seeds.
  const migrations = build === builds[0] ? 10 : 3;

  test.each([
    ['migrations', migrations, false],
    ['mirrored snapshots', build === builds[0] ? 3 : 1, true],
  ])('%s: %i trials lose nothing and leave nothing over', async (_what, trials, snapshots) => {
    const seeds = Array.from({ length: trials }, (_, n) => 1 + n);
    const bad: string[] = [];
    const onAnswer = (answer: Parameters<typeof report>[0]): void => {
      const lines = report(answer);
      said.push(...lines);
      if (lines[0]?.startsWith('FAIL')) bad.push(...lines);
    };
    await runTrials(seeds, { build, evidence, jobs: 2, counts: [1, 2], snapshots, onAnswer });
    expect(bad).toEqual([]);
  });
});

const layout = twoDisks(['qcow2', 'raw']);

describe('a trial has teeth', () => {
  let lab: Lab;
  let stock: ImageStock;
  beforeAll(async () => {
    lab = await Lab.open({ name: 'teeth' });
    stock = new ImageStock(lab);
  });
  afterAll(() => lab[Symbol.asyncDispose]());

  const trial = async (choices: Partial<Choices>, beforeRecovery: Tampering['beforeRecovery']): Promise<TrialResult> =>
    await runTrial(
      { build: lab.build, stock, hypervisor: PLAIN_QEMU, evidence: join(lab.folder, 'evidence') },
      { ...choose(1), layout, request: PLAIN_REQUEST, gcBefore: false, attempts: [{ way: 'recover' }], ...choices },
      { ...(beforeRecovery && { beforeRecovery }) },
    );

  /** The manager has died when the group was on the target. */
  const afterSwap = {
    moment: { kind: 'exact', death: { step: 'pivot', when: 'released' } },
    blow: { dies: 'manager' },
  } as const;

  test('the side that recovery does not pick lacks writes, and the one that it picks lacks none', async () => {
    let stale = 0;
    const result = await trial(afterSwap, async (scene) => {
      await goOnAndDie(scene);
      const images = planOf(scene).disks.map(({ sourceOverlay }) => ({ path: sourceOverlay, format: 'qcow2' }));
      for (const { lost } of await scene.check(images)) stale += lost;
    });
    expect(stale).toBeGreaterThan(0);
    expect(result).toMatchObject({ outcome: 'done', lost: 0, litter: [] });
  });

  test('going back although the disks were swapped is noticed as loss', async () => {
    const result = await trial(afterSwap, async (scene) => {
      await goOnAndDie(scene);
      using journal = Journal.open(scene.stateDir);
      journal.voidCommitRecord(planOf(scene).id, 'pivot', 'a test');
    });
    expect(result.outcome).toBe('rolled-back');
    expect(result.lost).toBeGreaterThan(0);
  });

  test('going forward although the disks were not swapped is noticed as loss', async () => {
    const blow = { dies: 'manager, then QEMU', gap: 1000 } as const;
    const moment = { kind: 'exact', death: { step: 'attach', when: 'after' } } as const;
    const result = await trial({ moment, blow }, async (scene) => {
      using journal = Journal.open(scene.stateDir);
      journal.writeCommitRecord(planOf(scene).id, 'pivot', {});
      await Promise.resolve();
    });
    expect(result.outcome).toBe('done');
    expect(result.lost).toBeGreaterThan(0);
  });

  test('a file and a process too many are noticed as litter', async () => {
    const moment = { kind: 'exact', death: { step: 'copy', when: 'before' } } as const;
    let stray = '';
    let process: ChildProcess | undefined;
    const result = await trial({ moment, blow: { dies: 'both' } }, async ({ target }) => {
      stray = join(target, 'stray.qcow2');
      await writeFile(stray, '');
      process = spawn('tail', ['-f', stray], { stdio: 'ignore' });
    });
    process?.kill();
    expect(result).toMatchObject({ outcome: 'rolled-back', lost: 0 });
    expect(result.litter).toEqual([`${stray} is there`, `process ${process?.pid}: tail -f ${stray} `]);
  });
});

/** The guest goes on where it is, and then QEMU dies, too. */
async function goOnAndDie({ trialVm, writers }: Scene): Promise<void> {
  await Promise.all(writers.map((writer) => writer.advanced(30)));
  await trialVm.vm.kill();
}

function planOf({ stateDir }: Scene): MigrationPlan {
  using journal = Journal.open(stateDir, { readOnly: true });
  const [migration] = journal.migrations();
  if (migration === undefined) throw new Error('no migration was begun');
  return migration.plan as MigrationPlan;
}
