import { describe, expect, test } from 'vitest';
import type { Fault } from './fault.ts';
import type { ScheduleOptions } from './schedule.ts';
import { at, brokenRule } from './story.ts';

/** As in `stories.test.ts`, with a VM of libvirt of two disks. */
async function holds(faults: readonly Fault[], layout: ScheduleOptions['layout'] = {}): Promise<void> {
  expect(await brokenRule({ faults, layout: { libvirt: true, disks: 2, ...layout } }, 6)).toBeUndefined();
}

const KILLS = ['kill-libvirtd', 'kill-libvirtd-manager', 'kill-all'] as const;

/** libvirtd ends at every one of the first of these effects, alone or with others. */
async function holdsWhenKilledAfter(effect: string, count: number): Promise<void> {
  for (const kill of KILLS) for (let nth = 1; nth <= count; nth++) await holds([at(effect, kill, 'after', nth)]);
}

/** What the simulation has found in the driver of libvirt, so that it is not made again. */
describe('stories of libvirt', () => {
  test('libvirtd ends when QEMU has taken the snapshot, and before that is written down', async () => {
    await holdsWhenKilledAfter('transaction', 1);
    await holds([at('copyImage', 'abort', 'after', 3), at('transaction', 'kill-libvirtd', 'after')]);
  });

  test('it ends when QEMU has begun a job: the job is there without its mirror, and is ended', async () => {
    await holdsWhenKilledAfter('blockdev-mirror', 2);
    await holdsWhenKilledAfter('block-commit', 2);
  });

  test('it ends when a disk is going over in QEMU: it takes that for an abort, and the guest does not go on', async () => {
    await holdsWhenKilledAfter('job-complete', 4);
  });

  test('it ends when QEMU has forgotten the job already: the mirror is there without a job, and nothing is merged', async () => {
    await holdsWhenKilledAfter('job-dismiss', 4);
  });

  test('it ends while it concludes a job, and forgets the VM', async () => {
    await holdsWhenKilledAfter('status written: a job is being concluded', 4);
  });

  test('whoever takes a disk back dies, too: the way back is gone on with', async () => {
    for (const effect of ['blockdev-mirror', 'job-complete', 'DOMAIN_BLOCK_JOB_ABORT']) {
      for (const kill of ['kill-manager', 'kill-libvirtd', 'kill-libvirtd-manager'] as const) {
        await holds([at('mirror is put on its chain', 'kill-manager', 'before', 2), at(effect, kill, 'after')]);
      }
    }
  });

  test('a merge back is broken off, and cannot be taken back at once: its overlays stay', async () => {
    for (let nth = 1; nth <= 4; nth++) {
      const lost = at('DOMAIN_BLOCK_JOB_ABORT', 'unknown-outcome', 'after', nth);
      await holds([at('copyImage', 'abort', 'after', 3), lost, at('DOMAIN_SNAPSHOT_CREATE_XML', 'error')]);
    }
  });

  test('a job whose target fails is ending, slowly, when it is to be aborted: that is waited for', async () => {
    await holds([at('DOMAIN_BLOCK_JOB_ABORT', 'stall'), at('GET', 'target-error'), at('GET', 'unknown-outcome')]);
    await holds([
      at('GET_BLOCK_JOB_INFO', 'stall', 'before', 9),
      at('GET', 'target-error'),
      at('GET', 'abort', 'after', 2),
    ]);
  });

  test('the target hangs while mirrors start and the VM is suspended for that: it is not for as long as it hangs', async () => {
    await holds([at('stop', 'hang')], { build: '10.0' });
  });
});
