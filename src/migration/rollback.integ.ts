import { createHash } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { loadedVm, migrate, traces } from '../../lab/engine.ts';
import { Lab, qemuBuilds } from '../../lab/index.ts';
import { ferryError } from '../base/index.ts';
import { Journal } from '../journal/index.ts';
import { jobGroup } from './swap/job-group.ts';
import type { StepName } from './step-name.ts';
import { STEP, type StepTable } from './steps/index.ts';
import { untilMirrorsReady } from './swap/until-mirrors-ready.ts';

const MiB = 2 ** 20;
const { builds } = await qemuBuilds();
/** Up to the swap, after which there is no way back. */
const UNDOABLE = ['prepare', 'snapshot', 'mirror', 'copy', 'verify', 'attach', 'pivot'] as const;

/** The real steps, but for one that fails when it has acted. */
function failing(name: StepName): StepTable {
  const fail = (): never => {
    throw ferryError('STEP_NOT_CONFIRMED', { step: name, disk: 'a', what: 'a failure was wanted' });
  };
  const act: StepTable[StepName]['act'] = async (run) => {
    // The swap cannot be undone once its record is written, so it fails where it is about to be.
    await (name === 'pivot' ? holdAndFail(run, fail) : STEP[name].act(run));
    fail();
  };
  return { ...STEP, [name]: { ...STEP[name], act } };
}

const holdAndFail = async (run: Parameters<StepTable[StepName]['act']>[0], fail: () => never): Promise<void> => {
  const jobs = run.plan.disks.map((disk) => disk.jobs.mirror);
  await untilMirrorsReady(run);
  await jobGroup(run, jobs, 'target').hold();
  fail();
};

const hashOf = async (path: string): Promise<string> =>
  createHash('sha256')
    .update(await readFile(path))
    .digest('hex');

describe.each(builds)('QEMU $version ($label): any failure before the commit record', (build) => {
  test('leaves everything as it was, again and again, and the migration works afterwards', async () => {
    await using lab = await Lab.open({ name: 'rollback', build });
    const loaded = await loadedVm(lab, {
      warm: [32 * MiB, 32 * MiB],
      disks: async (source) => {
        await lab.image({
          path: join(source, 'base.raw'),
          format: 'raw',
          size: 32 * MiB,
          fill: { bytes: 8 * MiB, seed: 9 },
        });
        const backing = { path: 'base.raw', format: 'raw' };
        await lab.image({ path: join(source, 'a.qcow2'), format: 'qcow2', backing });
        await lab.image({
          path: join(source, 'b, c=1.raw'),
          format: 'raw',
          size: 32 * MiB,
          fill: { bytes: 8 * MiB, seed: 8 },
        });
        return [
          { id: 'a', path: join(source, 'a.qcow2'), format: 'qcow2' },
          { id: 'b', path: join(source, 'b, c=1.raw'), format: 'raw' },
        ];
      },
      writers: (disks) =>
        disks.map(({ id }, n) => ({ disk: id, seed: n + 1, rate: 40, region: { offset: 0, length: 24 * MiB } })),
    });
    const { vm, source, target, stateDir, writers } = loaded;
    const before = await traces(vm, [source, target]);
    const base = await hashOf(join(source, 'base.raw'));

    const check = async (what: string, kind: string): Promise<void> => {
      expect(kind, what).toBe('rolled-back');
      expect(await traces(vm, [source, target]), what).toEqual(before);
      await Promise.all(writers.map((writer) => writer.advanced(5)));
      using journal = Journal.open(stateDir, { readOnly: true });
      const [last] = journal.migrations().slice(-1);
      expect(journal.ledger(last?.id ?? '', { states: ['planned', 'made'] }), what).toEqual([]);
    };
    // What a QEMU has to do with is what a step made; where it is aborted, which is before it acts, is the same on each.
    const first = build === builds[0];
    for (const step of UNDOABLE) {
      const { outcome: failed } = await migrate(vm, { stateDir, request: { to: target }, steps: failing(step) });
      await check(`failed after ${step}: ${failed.message}`, failed.kind);
      if (!first) continue;
      const { outcome } = await migrate(vm, {
        stateDir,
        request: { to: target },
        watch: (migration, event) => {
          if (event?.type === 'step' && event.step === step && event.state === 'begun' && step !== 'pivot')
            migration.control.abort();
          if (event?.type === 'step' && event.step === 'attach' && event.state === 'done' && step === 'pivot')
            migration.control.abort();
        },
      });
      await check(`aborted at ${step}: ${outcome.message}`, outcome.kind);
    }
    expect(await hashOf(join(source, 'base.raw'))).toBe(base);

    const { outcome } = await migrate(vm, { stateDir, request: { to: target } });
    expect(outcome.kind).toBe('done');
    const checks = await loaded.check(({ path = '' }) => path.replace(source, target));
    expect(checks.map(({ lostCount, damagedCount }) => [lostCount, damagedCount])).toEqual([
      [0, 0],
      [0, 0],
    ]);
    expect(await vm.ioErrors()).toEqual([]);
  });
});
