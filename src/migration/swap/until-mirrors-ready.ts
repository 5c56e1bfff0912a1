import { formatDuration, formatSize } from '../../base/index.ts';
import { checkMirrors, isReady } from './mirror-health.ts';
import type { JobState } from '../../vm/index.ts';
import type { Run } from '../run.ts';
import { slowGuest } from './guest-brake.ts';
import { StallWatch } from './stall-watch.ts';
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
  const watch = new StallWatch(SAY_EVERY_MS, began);
  let copied = { at: began, done: new Map<string, number>() };
  await watched(run, async (signal) => {
    for (;;) {
      signal.throwIfAborted();
      await checkMirrors(run);
      const jobs = await run.vm.jobs(ids);
      if (jobs.length === ids.length && jobs.every(isReady)) return;
      const now = clock.monotonic();
      const behind = jobs.reduce((sum, { total, done }) => sum + total - done, 0);
      // A job that has not looked at its disk yet does not say how much there is.
      const known = jobs.length === ids.length && jobs.every(({ total }) => total > 0);
      if (copied.done.size === 0) copied = { at: now, done: doneOf(jobs) };
      if (known && watch.stalled(now, behind)) {
        const seconds = (now - copied.at) / 1000;
        const rates = new Map(
          plan.disks.flatMap(({ id, jobs: { mirror } }) => {
            const job = jobs.find((each) => each.id === mirror);
            if (job === undefined || isReady(job)) return [];
            return [[id, (job.done - (copied.done.get(mirror) ?? job.done)) / seconds] as const];
          }),
        );
        copied = { at: now, done: doneOf(jobs) };
        // It has been said what is done about it.
        if (await slowGuest(run, rates)) say = now + SAY_EVERY_MS;
      }
      if (now >= say) {
        say = now + SAY_EVERY_MS;
        const since = formatDuration(now - began);
        const canSlow = run.vm.brake && !plan.request.slowGuest ? '; with --slow-guest it would be slowed down' : '';
        run.emit({
          type: 'warning',
          message: `for ${since} the guest has written as fast as the target takes it (${formatSize(behind)} behind): the swap waits for a calmer moment, or for an abort${canSlow}`,
        });
      }
      await run.vm.jobChange(ids, 200, signal);
    }
  });
}

function doneOf(jobs: readonly JobState[]): Map<string, number> {
  return new Map(jobs.map(({ id, done }) => [id, done]));
}
