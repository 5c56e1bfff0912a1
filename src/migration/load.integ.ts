import { readdir } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { loadedVm, migrate } from '../../lab/engine.ts';
import { Lab, type LabDisk, qemuBuilds } from '../../lab/index.ts';
import { Journal } from '../journal/index.ts';
import { QmpClient } from '../qmp/index.ts';

const MiB = 2 ** 20;
const { builds } = await qemuBuilds();

const disk = async (
  lab: Lab,
  folder: string,
  id: string,
  seed: number,
  options: Partial<LabDisk> = {},
): Promise<LabDisk> => {
  const path = join(folder, `${id}.qcow2`);
  await lab.image({ path, format: 'qcow2', size: 48 * MiB, fill: { bytes: 16 * MiB, seed } });
  return { id, path, format: 'qcow2', ...options };
};

describe.each(builds)('QEMU $version ($label): a guest that writes as much as it can', (build) => {
  test.each([
    // The other tests on the second build are of disks without.
    ...(build === builds[0] ? [{ what: 'without I/O threads', options: {} }] : []),
    // `stop` in the midst of the swap killed QEMU here, or `cont` hung it.
    { what: 'on one I/O thread', options: { iothread: 'io' } },
  ])('two disks $what with 16 writes in flight each are swapped, and the VM runs', async ({ options }) => {
    await using lab = await Lab.open({ name: 'load', build });
    const loaded = await loadedVm(lab, {
      disks: async (source) => [await disk(lab, source, 'a', 1, options), await disk(lab, source, 'b', 2, options)],
      warm: [48 * MiB, 48 * MiB],
      writers: (disks) =>
        disks.map(({ id }, n) => ({ disk: id, seed: n + 1, region: { offset: 8 * MiB, length: 16 * MiB } })),
    });
    const { vm, source, target, stateDir, writers } = loaded;
    const load = { pattern: 'randwrite', depth: 16, offset: 24 * MiB, size: 24 * MiB } as const;
    const loads = [await vm.startFio({ disk: 'a', ...load }), await vm.startFio({ disk: 'b', ...load })];

    const { outcome, plan, events } = await migrate(vm, { stateDir, request: { to: target } });

    expect(outcome.kind, JSON.stringify(events.filter(({ type }) => type === 'failed'))).toBe('done');
    const holds = events.flatMap((event) => (event.type === 'held' ? [`${event.kind} ${event.ms.toFixed(1)} ms`] : []));
    // On some QEMUs the VM stands still while mirrors and folds start, too.
    expect(holds.filter((hold) => !hold.startsWith('start')).map((hold) => hold.split(' ')[0])).toEqual([
      'pivot',
      'fold',
    ]);
    using journal = Journal.open(stateDir, { readOnly: true });
    const stops = journal.ledger(plan.id, { kind: 'job' }).filter(({ name }) => name.startsWith('stopped-'));
    expect(stops.filter(({ state }) => state !== 'gone')).toEqual([]);
    console.info(
      `QEMU ${build.version}: I/O held at the ${holds.join(', the ')}; processors stopped ${stops.length} times`,
    );
    // Stopped or not, they run now, and so do the loads.
    await using qmp = await QmpClient.connect({ path: vm.qmpPath });
    expect((await qmp.execute('query-status')).status).toBe('running');
    await Promise.all(writers.map((writer) => writer.advanced(20)));
    for (const fio of loads) {
      const { error, write } = await fio.stop();
      expect(error).toBe(0);
      expect(write.ios).toBeGreaterThan(0);
    }
    const checks = await loaded.check(({ path = '' }) => join(target, basename(path)));
    expect(checks.map(({ lostCount, damagedCount }) => [lostCount, damagedCount])).toEqual([
      [0, 0],
      [0, 0],
    ]);
    expect(await vm.ioErrors()).toEqual([]);
    expect(await readdir(source)).toEqual([]);
  });
});

test('two VMs are migrated at once, from the same folder to the same folder', async () => {
  await using lab = await Lab.open({ name: 'two VMs' });
  const loaded = await Promise.all(
    ['one', 'two'].map((name, n) =>
      loadedVm(lab, {
        name,
        warm: [48 * MiB],
        disks: async (source) => [await disk(lab, source, name, n + 1)],
        writers: () => [{ disk: name, seed: n + 1, rate: 100, region: { offset: 8 * MiB, length: 32 * MiB } }],
      }),
    ),
  );

  const results = await Promise.all(
    loaded.map(({ vm, stateDir, target }) => migrate(vm, { stateDir, request: { to: target } })),
  );

  expect(results.map(({ outcome }) => outcome.kind)).toEqual(['done', 'done']);
  for (const one of loaded) {
    const { source, target, vm, writers } = one;
    await Promise.all(writers.map((writer) => writer.advanced(20)));
    const checks = await one.check(({ path = '' }) => join(target, basename(path)));
    expect(checks.map(({ lostCount, damagedCount }) => [lostCount, damagedCount])).toEqual([[0, 0]]);
    expect(await vm.ioErrors()).toEqual([]);
    expect(await readdir(source)).toEqual([]);
    expect((await readdir(target)).toSorted()).toEqual(['one.qcow2', 'two.qcow2']);
  }
});
