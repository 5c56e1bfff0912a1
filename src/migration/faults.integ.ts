import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import {
  type EngineResult,
  type LoadedVm,
  loadedVm,
  migrate,
  takeOver,
  type Traces,
  traces,
} from '../../lab/engine.ts';
import { failingFilesystem, Lab, smallFilesystem, whyNoMount } from '../../lab/index.ts';
import { MigrationProcess } from '../../lab/migration-process.ts';
import { run } from '../base/index.ts';
import { QmpClient } from '../qmp/index.ts';
import { Journal } from '../journal/index.ts';
import type { StepName } from './step-name.ts';

const MiB = 2 ** 20;
const noMount = await whyNoMount();
if (noMount !== undefined) console.warn(`not tested: storages that fill or fail (${noMount})`);

const causeOf = ({ outcome }: EngineResult): string | undefined =>
  'cause' in outcome ? outcome.cause?.code : undefined;

describe.skipIf(noMount)('a target that fails under a writing guest', () => {
  let lab: Lab;
  let loaded: LoadedVm;
  let before: Traces;

  beforeAll(async () => {
    lab = await Lab.open({ name: 'faults' });
    loaded = await loadedVm(lab, {
      disks: async (source) => {
        const path = join(source, 'a.qcow2');
        await lab.image({ path, format: 'qcow2', size: 256 * MiB, fill: { bytes: 24 * MiB, seed: 1 } });
        return [{ id: 'a', path, format: 'qcow2' }];
      },
      writers: () => [{ disk: 'a', seed: 1, rate: 200, region: { offset: 16 * MiB, length: 32 * MiB } }],
    });
    before = await traces(loaded.vm, [loaded.source]);
  });

  afterAll(async () => {
    await lab[Symbol.asyncDispose]();
  });

  /** Migrates to a folder; when a step begins, or is done, something happens to the storage. */
  const migrateWith = async (
    to: string,
    at: { readonly step: StepName; readonly state: 'begun' | 'done' },
    happens: () => Promise<unknown>,
    then: 'goes on' | 'stays paused' = 'goes on',
  ): Promise<EngineResult> => {
    let happened: Promise<unknown> | undefined;
    const result = await migrate(loaded.vm, {
      stateDir: loaded.stateDir,
      request: { to },
      watch: (migration, event) => {
        if (event?.type !== 'step' || event.step !== at.step || event.state !== at.state) return;
        migration.control.pause();
        happened = happens().finally(() => {
          if (then === 'goes on') migration.control.resume();
        });
      },
    });
    await happened;
    return result;
  };

  /** The guest goes on at the source, and nothing is left over: on the VM, at the source, at the target. */
  const asBefore = async (id: string): Promise<void> => {
    expect(await traces(loaded.vm, [loaded.source])).toEqual(before);
    await Promise.all(loaded.writers.map((writer) => writer.advanced(10)));
    using journal = Journal.open(loaded.stateDir, { readOnly: true });
    expect(journal.ledger(id, { states: ['planned', 'made'] })).toEqual([]);
  };

  test('somebody fills it: the copy stops while there is room for the guest', async () => {
    await using small = await smallFilesystem({ size: 128 * MiB });
    // Less than the 8 MiB that are kept for the guest, but some: QEMU itself sees no error before it is noticed.
    const allBut7MiB = async (): Promise<void> => {
      const { stdout } = await run('df', ['--output=avail', '-B1', small.path]);
      const free = Number(stdout.split('\n')[1]);
      await run('fallocate', ['-l', String(free - 7 * MiB), join(small.path, 'ballast')]);
    };
    const result = await migrateWith(small.path, { step: 'copy', state: 'begun' }, allBut7MiB, 'stays paused');
    expect([result.outcome.kind, causeOf(result)], result.outcome.message).toEqual(['rolled-back', 'SPACE_RUNS_OUT']);
    await asBefore(result.plan.id);
    expect((await readdir(small.path)).toSorted()).toEqual(['ballast', 'lost+found']);
  });

  test.each([
    { step: 'mirror', state: 'done' },
    { step: 'copy', state: 'begun' },
    { step: 'attach', state: 'done' },
  ] as const)('it is full when $step is $state', async (at) => {
    await using small = await smallFilesystem({ size: 128 * MiB });
    const result = await migrateWith(small.path, at, async () => {
      await small.fill();
      // Where the writer has been everywhere before, it needs no more room.
      const { status, output } = await loaded.vm.shell(
        `dd if=/dev/zero of=${loaded.vm.devices.get('a')} bs=1M seek=200 count=4 oflag=direct conv=notrunc 2>&1`,
      );
      expect(status, output).toBe(0);
    });
    expect(result.outcome.kind, result.outcome.message).toBe('rolled-back');
    // Whoever meets it first: the look at the space, the copy, the mirror, the mirror in the hold, or QEMU, which does not complete
    // a mirror that has just ended.
    expect(['SPACE_RUNS_OUT', 'MIRROR_FAILED', 'COPY_FAILED', 'HOLD_FAILED', 'QMP_COMMAND']).toContain(causeOf(result));
    await asBefore(result.plan.id);
    expect((await readdir(small.path)).toSorted()).toEqual(['ballast', 'lost+found']);
  });

  test.each([
    { step: 'mirror', state: 'done' },
    { step: 'copy', state: 'begun' },
    { step: 'attach', state: 'done' },
  ] as const)('it cannot be written any more when $step is $state', async (at) => {
    await using failing = await failingFilesystem({ size: 96 * MiB });
    const { outcome, plan } = await migrateWith(failing.path, at, () => failing.breakDown());
    let { kind } = outcome;
    if (kind === 'attention') {
      // That its files are gone may be what it cannot write down any more: nothing else is left, and they go when it can.
      expect(outcome.message).toContain('The source is the truth for every disk');
      expect(await traces(loaded.vm, [loaded.source])).toEqual(before);
      await failing.repair();
      ({ kind } = await takeOver(loaded.vm, { stateDir: loaded.stateDir, id: plan.id }));
    }
    expect(kind, outcome.message).toBe('rolled-back');
    await asBefore(plan.id);
    expect(await readdir(failing.path)).toEqual(['lost+found']);
  });

  test('it is dead: the guest goes back all the same, and the files are removed when it can be written again', async () => {
    await using small = await smallFilesystem({ size: 128 * MiB });
    // What ext4 does to itself when its journal cannot be written.
    const dies = async (): Promise<unknown> => await run('mount', ['-o', 'remount,abort', small.path]);
    const result = await migrateWith(small.path, { step: 'copy', state: 'begun' }, dies);
    expect(result.outcome.kind, result.outcome.message).toBe('attention');
    expect(result.outcome.message).toContain('The source is the truth for every disk');
    // Nothing of it is on the VM or at the source any more.
    expect(await traces(loaded.vm, [loaded.source])).toEqual(before);
    await Promise.all(loaded.writers.map((writer) => writer.advanced(10)));

    await run('umount', [small.path]);
    await run('mount', ['-o', 'loop', join(small.path, '..', 'image'), small.path]);
    const again = new MigrationProcess({
      qmpPath: loaded.vm.qmpPath,
      stateDir: loaded.stateDir,
      takeOver: result.plan.id,
    });
    expect((await again.outcome())?.kind).toBe('rolled-back');
    await asBefore(result.plan.id);
    expect(await readdir(small.path)).toEqual(['lost+found']);
  });

  test('it became read-only: refused before, and taken back after the plan was made', async () => {
    await using small = await smallFilesystem({ size: 128 * MiB });
    const readOnly = async (): Promise<unknown> => await run('mount', ['-o', 'remount,ro', small.path]);
    const late = await migrateWith(small.path, { step: 'prepare', state: 'begun' }, readOnly);
    expect([late.outcome.kind, causeOf(late)], late.outcome.message).toEqual(['rolled-back', 'TARGET_REFUSED']);
    await asBefore(late.plan.id);
    await expect(migrateWith(small.path, { step: 'copy', state: 'begun' }, readOnly)).rejects.toMatchObject({
      code: 'PLAN_REFUSED',
      message: expect.stringContaining('this user may not write to it') as unknown,
    });
  });

  test('it is full in the fold: what is there stays, and goes on when there is room; nothing is lost', async () => {
    await using small = await smallFilesystem({ size: 160 * MiB });
    // Nearly each of its writes is the first of a cluster: the overlay has some that are not in what the fold writes to.
    const fresh = { offset: 64 * MiB, length: 192 * MiB };
    await (await loaded.startWriter({ disk: 'a', seed: 2, rate: 40, region: fresh })).advanced(5);
    const full = await migrateWith(small.path, { step: 'pivot', state: 'done' }, () => small.fill());
    const { id } = full.plan;
    expect([full.outcome.kind, causeOf(full)], full.outcome.message).toEqual(['attention', 'FOLD_FAILED']);
    expect(full.outcome.message).toContain('The target is the truth for every disk');
    await small.makeRoom();
    // QEMU itself stops a guest whose disk is full; to let it go on is a person's business, as ever.
    await using qmp = await QmpClient.connect({ path: loaded.vm.qmpPath });
    if ((await qmp.execute('query-status')).status === 'io-error') await qmp.execute('cont');
    await qmp[Symbol.asyncDispose]();
    const outcome = await takeOver(loaded.vm, { stateDir: loaded.stateDir, id });
    expect(outcome.kind, outcome.message).toBe('done');
    await Promise.all(loaded.writers.map((writer) => writer.advanced(10)));
    expect((await readdir(small.path)).toSorted()).toEqual(['a.qcow2', 'lost+found']);
    const checks = await loaded.check(() => join(small.path, 'a.qcow2'));
    const clean = { lostCount: 0, damagedCount: 0 };
    expect(checks).toMatchObject([clean, clean]);
    expect(await loaded.vm.ioErrors()).toEqual([]);
    await loaded.vm.stop();
  });
});
