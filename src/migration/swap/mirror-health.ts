import { type FerryError, ferryError } from '../../base/index.ts';
import type { JobState } from '../../vm/index.ts';
import type { PlannedDisk } from '../plan/plan.ts';
import type { Run } from '../run.ts';

/**
 * What is wrong with a mirror; undefined when it runs. `ready` alone proves nothing: with a failing target QEMU keeps
 * saying it (measured with on-target-error=stop and =ignore), so the I/O status is looked at as well.
 */
export function mirrorFault(
  disk: Pick<PlannedDisk, 'id' | 'targetOverlay'>,
  job: JobState | undefined,
): FerryError | undefined {
  const fail = (reason: string): FerryError =>
    ferryError('MIRROR_FAILED', { disk: disk.id, target: disk.targetOverlay, reason });
  if (job === undefined) return fail('the mirror job is gone');
  if (job.error !== undefined) return fail(job.error);
  if (job.ioStatus !== undefined && job.ioStatus !== 'ok') return fail(`its I/O status is ${job.ioStatus}`);
  if (job.status === 'aborting' || job.status === 'concluded') return fail(`the mirror job has ended (${job.status})`);
  // Only the swap itself holds the guest's I/O, and it does not look here any more. Whoever has begun one and died before
  // its commit record left the guest waiting: back, at once.
  if (job.status === 'waiting' || job.status === 'pending') {
    return fail('a swap was begun and broken off before its commit record');
  }
  return undefined;
}

/** What a mirror may still have to copy when the guest's I/O is held: a few milliseconds for any storage. In bytes. */
const BACKLOG = 4 * 2 ** 20;

/** Whether a mirror is fit for the swap: next to nothing is left to copy, and the target takes it without errors. */
export function isReady(job: JobState): boolean {
  const caughtUp = job.total - job.done <= BACKLOG;
  return job.status === 'ready' && job.ioStatus === 'ok' && caughtUp;
}

/**
 * Looks at all mirrors of the group once.
 * @throws FerryError MIRROR_FAILED
 */
export async function checkMirrors(run: Run): Promise<void> {
  const { plan, vm } = run;
  const jobs = await vm.jobs(plan.disks.map((disk) => disk.jobs.mirror));
  for (const disk of plan.disks) {
    const job = jobs.find(({ id }) => id === disk.jobs.mirror);
    const fault = mirrorFault(disk, job);
    if (fault !== undefined) throw fault;
    if (job !== undefined)
      run.report({ phase: 'mirror', key: disk.id, disks: [disk.id], done: job.done, total: job.total });
  }
}
