import { expect, test } from 'vitest';
import { STEPS } from '../../src/migration/index.ts';
import { choose, type Driver } from './choices.ts';
import { summary } from './results.ts';

const DRIVERS = ['QMP', 'libvirt'] as const;

test.each(DRIVERS)('a seed repeats its choices, and another makes others: %s', (driver) => {
  expect(choose(7, { driver })).toEqual(choose(7, { driver }));
  expect(choose(7, { driver })).not.toEqual(choose(8, { driver }));
});

/** What there is for one of them only. */
const ONLY: Readonly<Record<Driver, readonly string[]>> = {
  QMP: ['pivot attached', 'pivot half released', 'fold half released', 'drive', 'blockdev', '3 disks', '4 disks'],
  libvirt: [
    'pivot half held',
    'fold half held',
    'persistent',
    'transient',
    'libvirtd',
    'libvirtd and manager',
    'libvirtd and QEMU',
    'all',
    'libvirtd, then manager',
    'manager, then libvirtd',
    'QEMU, then libvirtd',
  ],
};

test.each(DRIVERS)('a thousand seeds come to every step, point of the swaps, layout and way: %s', (driver) => {
  const all = Array.from({ length: 1000 }, (_, seed) => choose(seed, { driver }));
  const seen = new Set(
    all.flatMap(({ moment, blow, request, layout, attempts }) => [
      moment.kind === 'exact' ? `${moment.death.step} ${moment.death.when}` : moment.kind,
      ...(moment.kind === 'step' ? [moment.at] : []),
      blow.dies,
      ...Object.entries(request).map(([name, value]) => `${name} ${value !== false && value !== 0}`),
      ...(driver === 'QMP' ? [layout.style] : [layout.persistent ? 'persistent' : 'transient']),
      `${layout.disks.length} disks`,
      ...layout.disks.map(({ images }) => `chain of ${images.length}`),
      ...attempts.map(({ way, killed }) => `${way}${killed ? ' killed' : ''}`),
      `${attempts.length - 1} killed`,
    ]),
  );
  const points = ['held', 'recorded', 'released'];
  const wanted = [
    ...STEPS.flatMap((step) => [`${step} before`, `${step} after`, `${step} (begun)`, `${step} (done)`]),
    ...points.flatMap((point) => [`pivot ${point}`, `fold ${point}`]),
    ...ONLY[driver],
    'time',
    'manager',
    'QEMU',
    'both',
    'manager, then QEMU',
    'QEMU, then manager',
    'guest off, then manager',
    ...[1, 2].map((count) => `${count} disks`),
    ...[1, 2, 3].map((depth) => `chain of ${depth}`),
    ...['verify', 'fold', 'keepSource', 'leaveLink', 'bandwidth'].flatMap((option) => [
      `${option} true`,
      `${option} false`,
    ]),
    ...['resume', 'recover', 'recover --back', 'recover all', 'abort', 'migrate'].flatMap((way) => [
      way,
      `${way} killed`,
    ]),
    ...[0, 1, 2].map((count) => `${count} killed`),
  ];
  expect(wanted.filter((what) => !seen.has(what))).toEqual([]);
  const other = ONLY[driver === 'QMP' ? 'libvirt' : 'QMP'];
  expect(other.filter((what) => seen.has(what))).toEqual([]);
});

test.each(DRIVERS)(
  'in place of migrations mirrored snapshots, which are killed when taken and when ended: %s',
  (driver) => {
    const all = Array.from({ length: 1000 }, (_, seed) => choose(seed, { driver, snapshots: true }));
    const seen = new Set(
      all.flatMap(({ moment, snapshot }) => [
        `${snapshot?.killed} ${moment.kind === 'step' ? moment.at : moment.kind}`,
        snapshot?.way,
        snapshot?.again === undefined ? 'once' : 'twice',
      ]),
    );
    const steps = { create: ['prepare', 'snapshot', 'mirror'], end: ['attach', 'pivot', 'clean'] };
    const wanted = Object.entries(steps).flatMap(([killed, names]) => [
      `${killed} time`,
      ...names.flatMap((name) => [`${killed} ${name} (begun)`, `${killed} ${name} (done)`]),
    ]);
    expect(seen).toEqual(new Set([...wanted, 'pivot', 'abort', 'once', 'twice']));
  },
);

function last(...entries: Parameters<typeof summary>[0]): unknown[] {
  const { lines, failed } = summary(entries);
  return [lines.at(-1), failed];
}

test('the last line counts trials, losses and litter, and any of them, or a trial without an end, is a failure', () => {
  const about = { version: '7.2', commit: 'c' };
  const ok = {
    seed: 1,
    killed: 'both',
    phase: 'copy (begun)',
    recovery: 'recover',
    outcome: 'done' as const,
    acknowledged: 9,
    lost: 0,
    found: [],
    litter: [],
    ms: 1,
    ...about,
  };
  expect(last(ok, ok)).toEqual(['2 trials, 0 lost, 0 littered', false]);
  expect(last(ok, { ...ok, lost: 3 })).toEqual(['2 trials, 1 lost, 0 littered', true]);
  expect(last(ok, { ...ok, litter: ['a', 'b'] })).toEqual(['2 trials, 0 lost, 1 littered', true]);
  expect(last(ok, { seed: 2, failure: 'no end', ...about })).toEqual(['2 trials, 0 lost, 0 littered', true]);
});
