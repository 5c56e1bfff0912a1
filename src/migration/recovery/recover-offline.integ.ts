import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { loadedVm, migrate } from '../../../lab/engine.ts';
import { Lab, type LabDisk } from '../../../lab/index.ts';
import { Journal } from '../../journal/index.ts';
import { recoverOffline } from './recover-offline.ts';
import { STEPS, type StepName } from '../step-name.ts';

const MiB = 2 ** 20;

/** Kills QEMU when this step has begun, and lets the migration run into it. */
async function killedAt(lab: Lab, step: StepName): Promise<void> {
  const loaded = await loadedVm(lab, {
    name: step,
    sourceName: `${step}-source`,
    targetName: `${step}-target`,
    warm: [32 * MiB, 32 * MiB],
    disks: async (source) => {
      const path = join(source, 'a.qcow2');
      await lab.image({ path, format: 'qcow2', size: 32 * MiB, fill: { bytes: 8 * MiB, seed: 3 } });
      const raw = join(source, 'b.raw');
      await lab.image({ path: raw, format: 'raw', size: 32 * MiB, fill: { bytes: 8 * MiB, seed: 4 } });
      return [
        { id: 'a', path, format: 'qcow2' },
        { id: 'b', path: raw, format: 'raw' },
      ];
    },
    writers: (disks: readonly LabDisk[]) =>
      disks.map(({ id }, n) => ({ disk: id, seed: n + 1, region: { offset: 0, length: 24 * MiB } })),
  });
  const { vm, source, target, stateDir } = loaded;
  const { outcome } = await migrate(vm, {
    stateDir,
    request: { to: target },
    watch: (_, event) => {
      if (event?.type === 'step' && event.step === step && event.state === 'begun') process.kill(vm.pid, 'SIGKILL');
    },
  });
  await vm.exited;
  expect(outcome.kind, outcome.message).toBe('attention');

  using journal = Journal.open(stateDir);
  const [row] = journal.migrations({ unfinished: true });
  const committed = journal.commitRecord(row?.id ?? '', 'pivot') !== undefined;
  const recovered = await recoverOffline(row?.id ?? '', { journal });
  expect(recovered.kind).toBe(committed ? 'done' : 'rolled-back');
  const [kept, emptied] = committed ? [target, source] : [source, target];
  expect((await readdir(kept)).toSorted()).toEqual(['a.qcow2', 'b.raw']);
  expect(await readdir(emptied)).toEqual([]);
  const checks = await loaded.check(({ path = '' }) => path.replace(source, kept));
  expect(checks.map(({ lostCount, damagedCount }) => [lostCount, damagedCount])).toEqual([
    [0, 0],
    [0, 0],
  ]);
  expect(journal.migrations({ unfinished: true })).toEqual([]);
}

test.each(STEPS.filter((step) => step !== 'verify'))('QEMU is killed when %s begins', async (step) => {
  await using lab = await Lab.open({ name: 'gone' });
  await killedAt(lab, step);
});
