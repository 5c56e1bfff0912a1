import { readdir } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { loadedVm, migrate, traces } from '../../lab/engine.ts';
import { Lab, type LabDisk, qemuBuilds } from '../../lab/index.ts';

const MiB = 2 ** 20;
const { builds, missing } = await qemuBuilds();
for (const { label, reason } of missing) console.warn(`not tested on QEMU of ${label}: ${reason}`);

/** Disks of 32 MiB, half full, and a writer over a region of each that is partly unallocated. */
const plain =
  (lab: Lab, count: number, format: 'raw' | 'qcow2', more: Partial<LabDisk> = {}) =>
  async (source: string): Promise<LabDisk[]> => {
    const disks: LabDisk[] = [];
    for (let n = 0; n < count; n++) {
      const path = join(source, `disk${n}.${format}`);
      await lab.image({ path, format, size: 32 * MiB, fill: { bytes: 16 * MiB, seed: n + 1 } });
      disks.push({ id: `d${n}`, path, format, ...more });
    }
    return disks;
  };

const writeAll = (
  disks: readonly LabDisk[],
): { disk: string; seed: number; region: { offset: number; length: number } }[] =>
  disks.map(({ id }, n) => ({ disk: id, seed: n + 1, region: { offset: 8 * MiB, length: 16 * MiB } }));

describe.each(builds)('QEMU $version ($label): a migration under load', (build) => {
  const cases = [
    { what: 'one qcow2 disk', count: 1, format: 'qcow2' as const, vm: {} },
    { what: 'two raw disks of a -drive VM', count: 2, format: 'raw' as const, vm: { style: 'drive' as const } },
    { what: 'four disks on one iothread', count: 4, format: 'qcow2' as const, vm: {}, disk: { iothread: 'io0' } },
    {
      what: 'two disks with separate file nodes',
      count: 2,
      format: 'raw' as const,
      vm: {},
      disk: { separateFileNode: true },
    },
  ];
  // The other two are the plainest, and what layouts.integ.ts has on each build.
  const chosen = build === builds[0] ? cases : cases.filter(({ what }) => /-drive|iothread/.test(what));
  test.each(chosen)('$what', async ({ count, format, vm: options, disk }) => {
    await using lab = await Lab.open({ name: 'migration', build });
    // No other test has a guest with four disks: to save one would cost what it saves.
    const warm = count > 2 ? {} : { warm: Array.from({ length: count }, () => 32 * MiB) };
    const disks = plain(lab, count, format, disk);
    const loaded = await loadedVm(lab, { ...options, ...warm, disks, writers: writeAll });
    const { vm, source, target, stateDir, writers } = loaded;

    const { outcome, events } = await migrate(vm, { stateDir, request: { to: target } });

    expect(outcome.kind, JSON.stringify(events.filter(({ type }) => type === 'failed'))).toBe('done');
    await Promise.all(writers.map((writer) => writer.advanced(50)));
    const checks = await loaded.check(({ path = '' }) => join(target, basename(path)));
    expect(checks.map(({ lostCount, damagedCount }) => [lostCount, damagedCount])).toEqual(checks.map(() => [0, 0]));
    expect(await vm.ioErrors()).toEqual([]);
    const swaps = events.flatMap((event) => (event.type === 'held' && event.kind !== 'start' ? [event.kind] : []));
    expect(swaps).toEqual(['pivot', 'fold']);
    expect(await readdir(source)).toEqual([]);
    expect((await readdir(target)).toSorted()).toEqual(Array.from({ length: count }, (_, n) => `disk${n}.${format}`));
    expect(await traces(vm, [])).toMatchObject({
      jobs: [],
      nodes: Array.from(
        { length: count },
        (_, n) => expect.stringMatching(new RegExp(`^bf-\\w{6}-base${n}$`)) as unknown,
      ),
    });
  });
});
