import { describe, expect, test } from 'vitest';
import { STEPS } from '../../src/migration/index.ts';
import type { FaultKind } from './fault.ts';
import { PLANTED_BUGS } from './planted-bugs.ts';
import { PLANTED_DOMAIN_BUGS } from './planted-domain-bugs.ts';
import { runSchedule } from './schedule.ts';
import { shrink } from './shrink.ts';

const SCHEDULES = 1200;
/** So many of them once more with a VM of libvirt. */
const OF_LIBVIRT = 200;
/** For a machine that does many other things, too; alone it takes some eight seconds. */
const LIMIT = { timeout: 600_000 };
/** Within how many schedules a planted bug has to be found; most are within a few. */
const FOUND_WITHIN = 6000;
/** From which seed on one is looked for that the schedules before do not meet, and that takes long to look for. */
const RARE: Readonly<Record<string, number>> = { 'mirrors are taken for ready without a look': 4200 };

describe('the simulation', () => {
  test('no schedule breaks a rule, and all there is to meet is met', LIMIT, async () => {
    const covered = new Set<string>();
    const ends = new Set<string | undefined>();
    for (let seed = 1; seed <= SCHEDULES + OF_LIBVIRT; seed++) {
      const libvirt = seed > SCHEDULES;
      const result = await runSchedule(libvirt ? { seed: seed - SCHEDULES, layout: { libvirt } } : { seed });
      if (result.breach !== undefined) expect.fail((await shrink(result)).lines.join('\n'));
      ends.add(result.end);
      for (const what of result.covered) covered.add(what);
    }
    expect(ends).toEqual(new Set(['done', 'rolled-back', 'nothing begun']));
    const kinds: readonly FaultKind[] = [
      ...([
        'kill-manager',
        'kill-qemu',
        'kill-both',
        'kill-power',
        'kill-libvirtd',
        'kill-libvirtd-manager',
        'kill-libvirtd-qemu',
        'kill-all',
        'error',
        'unknown-outcome',
        'full',
        'stall',
        'hang',
      ] as const),
      ...(['target-error', 'spoil', 'abort', 'leave', 'pause'] as const),
    ];
    const missing = [
      ...kinds.filter((kind) => ![...covered].some((what) => what.startsWith(kind))),
      ...STEPS.filter((step) => !covered.has(`died in ${step}`)),
      ...STEPS.filter((step) => !['verify', 'fold', 'clean'].includes(step)).filter(
        (step) => !covered.has(`died undoing ${step}`),
      ),
    ];
    expect(missing).toEqual([]);
  });

  test('the same seed is the same schedule, to the last line', async () => {
    for (const seed of [3, 4, 5]) {
      const [one, two] = [await runSchedule({ seed, keepTrace: true }), await runSchedule({ seed, keepTrace: true })];
      expect(one.trace).toEqual(two.trace);
    }
  });
});

describe('a planted bug is found:', () => {
  const all = { ...PLANTED_BUGS, ...PLANTED_DOMAIN_BUGS };
  test.each(Object.keys(all))('%s', LIMIT, async (bug) => {
    const parts = all[bug] ?? {};
    for (let seed = RARE[bug] ?? 1; seed <= FOUND_WITHIN; seed++) {
      const layout = bug in PLANTED_DOMAIN_BUGS ? { libvirt: true } : {};
      const result = await runSchedule({ seed, parts, layout });
      if (result.breach === undefined) continue;
      // The bug is what broke it.
      expect((await runSchedule({ seed, layout })).breach).toBeUndefined();
      const story = await shrink(result, parts);
      expect(story.breach).toBeDefined();
      console.log(`seed ${seed}: ${bug}\n${story.lines.slice(-4).join('\n')}`);
      return;
    }
    expect.fail(`not found in ${FOUND_WITHIN} schedules`);
  });
});
