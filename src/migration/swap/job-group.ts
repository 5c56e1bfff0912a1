import { ferryError } from '../../base/index.ts';
import type { CommitKind } from '../../journal/index.ts';
import { DEFAULT_MAX_HOLD_MS } from '../plan/request.ts';
import { mirrorServerAnswers } from '../mirror-server.ts';
import type { Run } from '../run.ts';
import { ask, requireAnswers, type Side } from '../storage-answers.ts';
import type { Group } from './pivot.ts';
import { isVmStopped, noteStop, wakeVm } from './vm-stop.ts';

const LOOK_EVERY_MS = 1000;

/**
 * The jobs of a swap as the VM drives them: what mirrors and folds have in common.
 * @param side where they write
 */
export function jobGroup(
  run: Run,
  jobs: readonly string[],
  side: Side,
): Pick<Group, 'ask' | 'hold' | 'release' | 'settle' | 'cancel'> {
  return {
    ask: () => requireAnswers(run, side),
    hold: () => run.vm.hold(jobs, maxHoldOf(run.plan), stopIfAnswering(run, jobs, side)),
    release: async () => {
      await run.vm.release(jobs);
      await wakeVm(run);
    },
    settle: () => run.vm.settle(jobs),
    // Undoing the step tries it again, and tells.
    cancel: () => cancelGroup(run, jobs, side).catch(() => undefined),
  };
}

/**
 * What is done before the processors are stopped in a hold. The storage and the mirror server are asked first, and where one of
 * them hangs the processors run on. They are not asked beside each drain: few drains need the stop, and starting the process
 * that asks would lengthen all of them (a hold of two disks from 24 to 71 ms). A mirror that is cut off from its target while
 * QEMU (7.2) is in `stop` ends in the midst of `bdrv_flush_all`, and leaves its filter on the overlay for good, with nothing
 * above it: "Need a root block node" says the `block-commit` that should take the overlay away.
 */
function stopIfAnswering(run: Run, jobs: readonly string[], side: Side): () => Promise<void> {
  return async () => {
    const [path, served] = await Promise.all([ask(run, side, maxHoldOf(run.plan)), mirrorServerAnswers(run)]);
    const silent = path === undefined ? 'the mirror server' : `the storage of ${path}`;
    if (path !== undefined || !served)
      throw ferryError('HOLD_FAILED', { jobs: jobs.join(', '), reason: `${silent} does not answer` });
    await noteStop(run)();
  };
}

/** The longest that the guest's I/O may be held for this migration, in milliseconds. */
export function maxHoldOf({ request }: Run['plan']): number {
  return request.maxHoldMs ?? DEFAULT_MAX_HOLD_MS;
}

/** Has the jobs end without a swap, and lets the guest go on. They may be there for another while: `cancelGroup` waits. */
export async function letGo(run: Run, jobs: readonly string[]): Promise<void> {
  const begun = begunJobs(run, jobs);
  await run.vm.cancel(begun);
  // Where the processors were stopped, the jobs have to be over before they go on: QEMU may not survive it (`holdJobs`).
  if (isVmStopped(run)) {
    for (let left = await run.vm.dismiss(begun); left.length > 0; left = await run.vm.dismiss(begun))
      await run.vm.jobChange(left, 50);
    if (run.plan.suspendedSwap) await refuseHeldGroups(run);
  }
  await wakeVm(run);
}

/**
 * A suspended VM may be held for another group as well, whose swap was broken off and could not be taken back.
 * @throws FerryError NOT_TAKEN_BACK, JOB_UNRECORDED
 */
async function refuseHeldGroups(run: Run): Promise<void> {
  const { plan, journal, vm } = run;
  const open = (kind: CommitKind): boolean => journal.commitRecord(plan.id, kind) === undefined;
  const jobs = plan.disks.flatMap(({ jobs: { mirror, fold, foldBack } }) => [
    ...(open('pivot') ? [mirror] : []),
    ...(open('fold') ? [fold] : []),
    ...(open('fold-back') ? [foldBack] : []),
  ]);
  await vm.dismiss(begunJobs(run, jobs));
}

/**
 * Those of the jobs that the ledger has. The others were never begun, or are over: a VM that knows its jobs only by what
 * its disks run on could not tell the two apart.
 */
export function begunJobs({ ledger }: Run, jobs: readonly string[]): readonly string[] {
  const begun = new Set(ledger.live('job'));
  return jobs.filter((job) => begun.has(job));
}

/**
 * Ends the jobs without a swap, and lets the guest go on, which is done first.
 * @param side where they write
 * @throws FerryError STORAGE_HANGS when a job stays because its I/O does not come back
 */
export async function cancelGroup(run: Run, jobs: readonly string[], side: Side): Promise<void> {
  await letGo(run, jobs);
  let look = run.clock.monotonic() + LOOK_EVERY_MS;
  const begun = begunJobs(run, jobs);
  for (let left = await run.vm.dismiss(begun); left.length > 0; left = await run.vm.dismiss(begun)) {
    await run.vm.jobChange(left, 200);
    if (run.clock.monotonic() < look) continue;
    await requireAnswers(run, side);
    look = run.clock.monotonic() + LOOK_EVERY_MS;
  }
}

/** Takes a swap whose record is written to its end: whatever is still held goes forward. */
export async function finishGroup(run: Run, jobs: readonly string[]): Promise<void> {
  const { release, settle } = jobGroup(run, jobs, 'target');
  await release();
  await settle();
}
