import { checkMirrors, isReady } from './mirror-health.ts';
import type { Run } from './run.ts';
import { watched } from './watch.ts';

/**
 * Waits until every mirror has caught up: `ready`, or fit for the swap with `synced` (no write under way to the target,
 * where QEMU tells that). There is no time limit: a mirror that is slow is waited for, one that fails ends it.
 * @throws FerryError MIRROR_FAILED, SPACE_RUNS_OUT; the reason of `run.control.signal`
 */
export async function untilMirrorsReady(run: Run, until: 'ready' | 'synced'): Promise<void> {
  const ids = run.plan.disks.map(({ jobs }) => jobs.mirror);
  await watched(run, async (signal) => {
    for (;;) {
      signal.throwIfAborted();
      await checkMirrors(run);
      const jobs = await run.vm.jobs(ids);
      if (
        jobs.length === ids.length &&
        jobs.every((job) => (until === 'synced' ? isReady(job) : job.status === 'ready'))
      )
        return;
      await run.vm.jobChange(ids, 200, signal);
    }
  });
}
