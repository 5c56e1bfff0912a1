import { checkMirrors, isReady } from './mirror-health.ts';
import type { Run } from './run.ts';
import { watched } from './watch.ts';

/**
 * Waits until every mirror has caught up with the guest. There is no time limit: a mirror that is slow is waited for, and
 * said to be; one that fails ends it.
 * @throws FerryError MIRROR_FAILED, SPACE_RUNS_OUT; the reason of `run.control.signal`
 */
export async function untilMirrorsReady(run: Run): Promise<void> {
  const ids = run.plan.disks.map(({ jobs }) => jobs.mirror);
  await watched(run, async (signal) => {
    for (;;) {
      signal.throwIfAborted();
      await checkMirrors(run);
      const jobs = await run.vm.jobs(ids);
      if (jobs.length === ids.length && jobs.every(isReady)) return;
      await run.vm.jobChange(ids, 200, signal);
    }
  });
}
