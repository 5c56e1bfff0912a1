import { formatDuration, formatSize } from '../../base/index.ts';
import { checkMirrors, isReady } from './mirror-health.ts';
import type { Run } from '../run.ts';
import { watched } from '../watch.ts';

/** How long a mirror may fail to catch up before the user is told why, and how often it is said again. */
const SAY_EVERY_MS = 10_000;

/**
 * Waits until every mirror has caught up with the guest. There is no time limit: a mirror that is slow is waited for, and
 * said to be; one that fails ends it.
 * @throws FerryError MIRROR_FAILED, SPACE_RUNS_OUT; the reason of `run.control.signal`
 */
export async function untilMirrorsReady(run: Run): Promise<void> {
  const { clock, plan } = run;
  const ids = plan.disks.map(({ jobs }) => jobs.mirror);
  const began = clock.monotonic();
  let say = began + SAY_EVERY_MS;
  await watched(run, async (signal) => {
    for (;;) {
      signal.throwIfAborted();
      await checkMirrors(run);
      const jobs = await run.vm.jobs(ids);
      if (jobs.length === ids.length && jobs.every(isReady)) return;
      if (clock.monotonic() >= say) {
        say += SAY_EVERY_MS;
        const behind = jobs.reduce((sum, { total, done }) => sum + total - done, 0);
        const since = formatDuration(clock.monotonic() - began);
        run.emit({
          type: 'warning',
          message: `for ${since} the guest has written as fast as the target takes it (${formatSize(behind)} behind): the swap waits for a calmer moment, or for an abort`,
        });
      }
      await run.vm.jobChange(ids, 200, signal);
    }
  });
}
