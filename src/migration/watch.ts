import { ferryError, formatSize, messageOf } from '../base/index.ts';
import { checkDisks } from './swap/group-health.ts';
import { begunJobs } from './swap/job-group.ts';
import { checkMirrors } from './swap/mirror-health.ts';
import type { Run } from './run.ts';
import { whatHangs } from './storage-answers.ts';

const LOOK_EVERY_MS = 1000;

/**
 * Does long work while an eye is kept on the disks, the mirrors and the space of every storage: the work is aborted as soon
 * as a mirror fails, a disk is unplugged, or a storage that the guest needs is about to fill.
 * @throws what the work throws; FerryError DISK_CHANGED, MIRROR_FAILED, SPACE_RUNS_OUT; the reason of `run.control.signal`
 */
export async function watched<T>(run: Run, work: (signal: AbortSignal) => Promise<T>): Promise<T> {
  const fault = new AbortController();
  const over = new AbortController();
  const signal = AbortSignal.any([run.control.signal, fault.signal]);
  const watching = watch(run, fault, over.signal);
  try {
    return await work(signal);
  } catch (error) {
    // What the work says of its end is only the echo of what was seen here.
    throw signal.aborted ? signal.reason : error;
  } finally {
    over.abort();
    await watching;
  }
}

async function watch(run: Run, fault: AbortController, over: AbortSignal): Promise<void> {
  while (!over.aborted) {
    try {
      await checkDisks(run);
      // Where they start last, there are none yet while the chain is copied.
      if (mirrorsBegun(run)) await checkMirrors(run);
      // Asked of a storage that hangs, even how much space is free is never answered.
      if ((await whatHangs(run, 'target')) === undefined) await checkSpace(run);
    } catch (error) {
      fault.abort(error);
      return;
    }
    // The sleep ends early when the work is over; that is no error of anybody's.
    await run.clock.sleep(LOOK_EVERY_MS, over).catch(messageOf);
  }
}

function mirrorsBegun(run: Run): boolean {
  const mirrors = run.plan.disks.map(({ jobs }) => jobs.mirror);
  return !run.plan.suspendedSwap || begunJobs(run, mirrors).length > 0;
}

/**
 * Stops early rather than fill a file system that the guest needs.
 * @throws FerryError SPACE_RUNS_OUT
 */
export async function checkSpace({ plan, host }: Run): Promise<void> {
  for (const { folder, reserve } of plan.storages) {
    const { free } = await host.storageSpace(folder);
    if (free < reserve) {
      throw ferryError('SPACE_RUNS_OUT', { folder, free: formatSize(free), reserve: formatSize(reserve) });
    }
  }
}
