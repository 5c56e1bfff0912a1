import type { Group } from './pivot.ts';
import type { Run } from '../run.ts';
import { noteStop, wakeVm } from './vm-stop.ts';

/** The jobs of a swap as the VM drives them: what mirrors and folds have in common. */
export function jobGroup(run: Run, jobs: readonly string[]): Pick<Group, 'hold' | 'release' | 'settle' | 'cancel'> {
  return {
    hold: () => run.vm.hold(jobs, noteStop(run)),
    release: async () => {
      await run.vm.release(jobs);
      await wakeVm(run);
    },
    settle: () => run.vm.settle(jobs),
    // Undoing the step tries it again, and tells.
    cancel: () => cancelGroup(run, jobs).catch(() => undefined),
  };
}

/** Ends the jobs without a swap, and lets the guest go on. */
export async function cancelGroup(run: Run, jobs: readonly string[]): Promise<void> {
  await run.vm.cancel(begunJobs(run, jobs));
  await wakeVm(run);
}

/**
 * Those of the jobs that the ledger has. The others were never begun, or are over: a VM that knows its jobs only by what
 * its disks run on could not tell the two apart.
 */
export function begunJobs({ ledger }: Run, jobs: readonly string[]): readonly string[] {
  const begun = new Set(ledger.live('job'));
  return jobs.filter((job) => begun.has(job));
}

/** Takes a swap whose record is written to its end: whatever is still held goes forward. */
export async function finishGroup(run: Run, jobs: readonly string[]): Promise<void> {
  const { release, settle } = jobGroup(run, jobs);
  await release();
  await settle();
}
