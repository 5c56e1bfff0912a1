import { describe, expect, test } from 'vitest';
import type { ScheduleOptions } from './schedule.ts';
import { at, brokenRule } from './story.ts';

/** Runs it with several orders of events; each has to keep every rule. */
async function holds(story: Omit<ScheduleOptions, 'seed'>): Promise<void> {
  expect(await brokenRule({ ...story, layout: { libvirt: false, ...story.layout } }, 10)).toBeUndefined();
}

/** What the simulation has found in the engine, so that it is not made again. */
describe('stories', () => {
  test('a pause that comes with the last step does not keep a migration from being done', async () => {
    await holds({ layout: { leaveLink: true, fold: true }, faults: [at('readLink', 'pause')] });
  });

  test('QEMU and the manager die when a link has taken the place of a source image: its overlay goes all the same', async () => {
    await holds({
      layout: { disks: 2, leaveLink: true, fold: true, keepSource: false },
      faults: [at('readLink', 'kill-both', 'after', 2)],
    });
  });

  test('both die while a source that is kept gets what its overlay holds: that is nobody else who has written to it', async () => {
    await holds({ layout: { keepSource: true }, faults: [at('foldOffline', 'kill-both', 'after', 2)] });
    await holds({
      layout: { keepSource: true },
      faults: [at('step pivot done', 'kill-both', 'after'), at('foldOffline', 'kill-manager', 'after', 3)],
    });
  });

  test('the last word of a recovery cannot be written: the migration is done for all that, or not', async () => {
    for (const kind of ['error', 'unknown-outcome'] as const) {
      await holds({ faults: [at('step pivot done', 'kill-both', 'after'), at('event finished', kind)] });
    }
  });

  test('a job that cannot be cancelled is not waited for', async () => {
    await holds({ faults: [at('copyImage', 'abort', 'after', 3), at('job-cancel', 'error')] });
  });

  test('a mirror ends between two looks at it: no bug is told of', async () => {
    for (let nth = 1; nth <= 6; nth++) {
      await holds({
        faults: [
          at('step attach done', 'kill-manager'),
          at('probeChain', 'resume'),
          at('query-block-jobs', 'target-error', 'after', nth),
        ],
      });
    }
  });

  test('the way back goes on where one step of it fails, and tells of no bug', async () => {
    await holds({ faults: [at('copyImage', 'abort', 'after', 3), at('blockdev-del', 'error')] });
  });

  test('overlays that are made a second time are not taken for those of somebody else', async () => {
    for (let nth = 1; nth <= 4; nth++) {
      await holds({
        faults: [at('step prepare done', 'kill-manager'), at('createOverlay', 'kill-both', 'after', nth)],
      });
    }
  });

  test('the target hangs while mirrors start and the processors stand still for that: they do not for as long as it hangs', async () => {
    await holds({ layout: { build: '10.0' }, faults: [at('blockdev-mirror', 'hang')] });
  });

  test('that a storage hangs cannot be written down: the work goes on', async () => {
    for (const kind of ['error', 'kill-manager'] as const) {
      await holds({ faults: [at('copyImage', 'hang'), at('event warning', kind)] });
    }
  });
});
