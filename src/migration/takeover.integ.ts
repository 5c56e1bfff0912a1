import { readdir } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { loadedVm, migrate, takeOver, traces } from '../../lab/engine.ts';
import { Lab, type QemuBuild, qemuBuilds } from '../../lab/index.ts';
import { type Death, MigrationProcess } from '../../lab/migration-process.ts';
import { FerryError } from '../base/index.ts';
import { Journal } from '../journal/index.ts';
import { QmpClient } from '../qmp/index.ts';
import { QemuVm } from '../vm/index.ts';
import { askMigration, type ControlCommand, Migration } from './index.ts';

const MiB = 2 ** 20;
const { builds } = await qemuBuilds();

/** Before the commit record: whoever takes over may go either way. */
const EARLY: readonly Death[] = [
  { step: 'prepare', when: 'after' },
  { step: 'snapshot', when: 'after' },
  { step: 'mirror', when: 'before' },
  { step: 'mirror', when: 'after' },
  { step: 'copy', when: 'after' },
  { step: 'attach', when: 'after' },
];
/** After it: only forward. */
const LATE: readonly Death[] = [
  { step: 'pivot', when: 'recorded' },
  { step: 'pivot', when: 'half released' },
  { step: 'pivot', when: 'released' },
  { step: 'fold', when: 'held' },
  { step: 'fold', when: 'recorded' },
  { step: 'fold', when: 'half released' },
  { step: 'clean', when: 'after' },
];
/** Where a rollback itself is interrupted. */
const UNDOING: readonly Death[] = [
  { step: 'mirror', undoing: true, when: 'after' },
  { step: 'snapshot', undoing: true, when: 'held' },
  { step: 'snapshot', undoing: true, when: 'half released' },
];

const twoDisks = async (lab: Lab): Promise<Awaited<ReturnType<typeof loadedVm>>> =>
  await loadedVm(lab, {
    monitors: 2,
    warm: [32 * MiB, 32 * MiB],
    disks: async (source) => {
      const path = (name: string): string => join(source, name);
      await lab.image({ path: path('a.qcow2'), format: 'qcow2', size: 32 * MiB, fill: { bytes: 8 * MiB, seed: 1 } });
      await lab.image({ path: path('b.raw'), format: 'raw', size: 32 * MiB, fill: { bytes: 8 * MiB, seed: 2 } });
      return [
        { id: 'a', path: path('a.qcow2'), format: 'qcow2' },
        { id: 'b', path: path('b.raw'), format: 'raw' },
      ];
    },
    // Deaths are at exact moments here: a slow guest finds them as well, and leaves the processors to the migration.
    writers: (disks) =>
      disks.map(({ id }, n) => ({ disk: id, seed: n + 1, rate: 40, region: { offset: 4 * MiB, length: 24 * MiB } })),
  });

const codeOf = async (promise: Promise<unknown>): Promise<unknown> =>
  await promise.then(
    () => 'no error',
    (error: unknown) => (error instanceof FerryError ? error.code : error),
  );

const isFirst = (build: QemuBuild): boolean => build === builds[0];
/**
 * On the second build only the swaps that are cut through: the rest is this process's own doing, and the same on each QEMU.
 */
const deathsOf = (build: QemuBuild, deaths: readonly Death[]): readonly Death[] =>
  isFirst(build) ? deaths : deaths.filter(({ when }) => when === 'recorded' || when === 'half released');
/**
 * Deaths with the guest's I/O held and no record, by whether somebody asks to roll back. Each is tried with and without,
 * on one of two builds: what is asked is looked at after the guest was freed.
 */
const heldOf = (build: QemuBuild, asked: boolean): Death => ({
  step: 'pivot',
  when: isFirst(build) === asked ? 'attached' : 'held',
});

describe.each(builds)('QEMU $version ($label): another process goes on', (build) => {
  test('where one was killed, back or forward', async () => {
    await using lab = await Lab.open({ name: 'takeover', build });
    const loaded = await twoDisks(lab);
    const { vm, stateDir, writers } = loaded;
    const { qmpPath } = vm;
    let [here, there] = [loaded.source, loaded.target];

    const killed = async (death: Death): Promise<string> => {
      const first = new MigrationProcess({ qmpPath, stateDir, request: { to: there }, death });
      expect(await first.outcome(), JSON.stringify(death)).toBeUndefined();
      return first.id;
    };
    const goOn = async (id: string, order: { abort?: boolean } = {}): Promise<string> =>
      (await takeOver(vm, { stateDir, id, ...order })).kind;
    const settled = async (id: string, what: string): Promise<void> => {
      await Promise.all(writers.map((writer) => writer.advanced(5)));
      using journal = Journal.open(stateDir, { readOnly: true });
      expect(journal.ledger(id, { states: ['planned', 'made'] }), what).toEqual([]);
      expect((await readdir(here)).toSorted(), what).toEqual(['a.qcow2', 'b.raw']);
      expect(await readdir(there), what).toEqual([]);
    };

    // What QEMU says of a request that failed tells more than what the guest sees of it.
    await using ear = await QmpClient.connect({ path: vm.qmpPaths[1] ?? '' });
    using failures = ear.listen(['BLOCK_IO_ERROR', 'BLOCK_IMAGE_CORRUPTED']);
    const before = await traces(vm, [loaded.source, loaded.target]);
    for (const death of [...deathsOf(build, EARLY), heldOf(build, true)]) {
      const what = `killed at ${JSON.stringify(death)}, rolled back`;
      const id = await killed(death);
      expect(await goOn(id, { abort: true }), what).toBe('rolled-back');
      await settled(id, what);
      expect(await traces(vm, [here, there]), what).toEqual(before);
    }
    for (const death of deathsOf(build, UNDOING)) {
      const what = `killed at ${JSON.stringify(death)}`;
      const id = await killed({ step: 'attach', when: 'after' });
      const second = new MigrationProcess({ qmpPath, stateDir, takeOver: id, abort: true, death });
      expect(await second.outcome(), what).toBeUndefined();
      expect(await goOn(id), what).toBe('rolled-back');
      await settled(id, what);
      expect(await traces(vm, [here, there]), what).toEqual(before);
    }
    // A guest whose I/O is held must not wait for anybody's decision: without a record it goes back, asked for or not.
    const heldDeath = heldOf(build, false);
    const id = await killed(heldDeath);
    expect(await goOn(id), heldDeath.when).toBe('rolled-back');
    await settled(id, heldDeath.when);
    const forward = EARLY.filter(({ step }) => step === 'snapshot' || step === 'copy');
    for (const death of deathsOf(build, [...forward, ...LATE])) {
      const what = `killed at ${JSON.stringify(death)}, gone on with`;
      const id = await killed(death);
      expect(await goOn(id), what).toBe('done');
      [here, there] = [there, here];
      await settled(id, what);
    }
    const after = await traces(vm, []);
    expect(after.nodes).toHaveLength(2);
    expect(after.jobs).toEqual([]);
    const checks = await loaded.check(({ path = '' }) => join(here, basename(path)));
    expect(checks.map(({ lostCount, damagedCount }) => [lostCount, damagedCount])).toEqual([
      [0, 0],
      [0, 0],
    ]);
    const said: unknown[] = [];
    while (failures.length > 0) said.push(await failures.next());
    expect({ guest: await vm.ioErrors(), qemu: said }).toEqual({ guest: [], qemu: [] });
  });
});

test('another process pauses, resumes, limits and aborts it; nobody else may begin one, or drive it', async () => {
  await using lab = await Lab.open({ name: 'asked' });
  const [source, target] = [await lab.storage('source'), await lab.storage('target')];
  const stateDir = await lab.storage('state');
  const path = join(source, 'a.raw');
  await lab.image({ path, format: 'raw', size: 32 * MiB, fill: { bytes: 32 * MiB, seed: 1 } });
  const disks = [{ id: 'a', path, format: 'raw' as const }];
  const vm = await lab.startVm({ name: 'asked', boot: false, monitors: 2, disks });
  const [qmpPath, other = ''] = vm.qmpPaths;
  if (qmpPath === undefined) throw new Error('no monitor');
  using journal = Journal.open(stateDir);
  const before = await traces(vm, [source, target]);
  // Slow enough never to end by itself while it is asked.
  const request = { to: target, bandwidth: 64 * 1024 };
  const copying = async (): Promise<MigrationProcess> => {
    const driver = new MigrationProcess({ qmpPath, stateDir, request });
    lab.defer(() => driver.kill());
    await driver.seen((event) => event.type === 'step' && event.step === 'copy' && event.state === 'begun');
    return driver;
  };
  const ask = async (id: string, command: ControlCommand): Promise<string | undefined> =>
    await askMigration(journal, id, command);

  // Aborted while it is paused.
  const first = await copying();
  expect(await ask(first.id, { command: 'pause' })).toContain('paused');
  await first.seen(({ type }) => type === 'paused');
  expect(journal.migration(first.id).state).toBe('paused');
  expect(await codeOf(migrate({ qmpPath: other }, { stateDir, request: { to: target } }))).toBe('PLAN_REFUSED');
  await using beside = await QemuVm.connect({ path: other });
  expect(await codeOf(Migration.takeOver(first.id, { vm: beside, journal }))).toBe('MIGRATION_OWNED');
  expect(await codeOf(ask(first.id, { command: 'set-speed', bytesPerSecond: -1 }))).toBe('BAD_SIZE');
  expect(await ask(first.id, { command: 'abort' })).toContain('aborting');
  expect((await first.outcome())?.kind).toBe('rolled-back');
  expect(await traces({ qmpPath }, [source, target])).toEqual(before);
  expect(await ask(first.id, { command: 'pause' })).toBeUndefined();
  expect(await codeOf(Migration.takeOver(first.id, { vm: beside, journal }))).toBe('MIGRATION_FINISHED');

  // Paused, resumed, then as fast as it goes; and in the end it is too late to abort.
  const second = await copying();
  await ask(second.id, { command: 'pause' });
  await ask(second.id, { command: 'resume' });
  await second.seen(({ type }) => type === 'resumed');
  expect(journal.migration(second.id).state).toBe('running');
  expect(await ask(second.id, { command: 'set-speed', bytesPerSecond: 0 })).toContain('no limit');
  expect((await second.outcome())?.kind).toBe('done');
  expect(await readdir(source)).toEqual([]);
  expect(await readdir(target)).toEqual(['a.raw']);
});

test('a migration that was left goes on in another process, but not on another QEMU', async () => {
  await using lab = await Lab.open({ name: 'left' });
  const [source, target] = [await lab.storage('source'), await lab.storage('target')];
  const stateDir = await lab.storage('state');
  const path = join(source, 'a.qcow2');
  await lab.image({ path, format: 'qcow2', size: 16 * MiB, fill: { bytes: 8 * MiB, seed: 1 } });
  const options = { name: 'left', boot: false, disks: [{ id: 'a', path, format: 'qcow2' as const }] };
  const uuid = '5f2c7e0c-3a4f-4d1e-9b6a-0d9c3a4f4d1e';
  const vm = await lab.startVm({ ...options, uuid });

  const left = await migrate(vm, {
    stateDir,
    request: { to: target },
    watch: (migration, event) => {
      if (event?.type === 'step' && event.step === 'copy' && event.state === 'begun') migration.control.leave();
    },
  });
  expect(left.outcome.kind).toBe('left');
  const order = { qmpPath: vm.qmpPath, stateDir, takeOver: left.plan.id };
  expect((await new MigrationProcess(order).outcome())?.kind).toBe('done');
  expect(await readdir(target)).toEqual(['a.qcow2']);

  // One that is unfinished is found by the VM's UUID, also when nothing of it is on the VM yet; and when the VM was
  // started anew, its disks are not what they were: recovery is another matter.
  const stopped = new MigrationProcess({
    qmpPath: vm.qmpPath,
    stateDir,
    request: { to: source },
    death: { step: 'prepare', when: 'before' },
  });
  expect(await stopped.outcome()).toBeUndefined();
  expect(await codeOf(migrate(vm, { stateDir, request: { to: source } }))).toBe('MIGRATION_EXISTS');
  await vm.kill();
  const again = await lab.startVm({
    ...options,
    uuid,
    disks: [{ ...options.disks[0], id: 'a', path: join(target, 'a.qcow2') }],
  });
  await using qemu = await QemuVm.connect({ path: again.qmpPath });
  using journal = Journal.open(stateDir);
  expect(await codeOf(Migration.takeOver(stopped.id, { vm: qemu, journal }))).toBe('VM_REPLACED');
});
