import { type Clock, type FerryError, ferryError } from '../../base/index.ts';
import { isQmpCommandError, type QmpEvent, type QmpEventQueue } from '../../qmp/index.ts';
import type { JobState } from '../virtual-machine.ts';
import type { Monitor } from './monitor.ts';

/**
 * The longest that the guest's I/O is held for a target that does not drain, in milliseconds: then the group is let go and
 * the guest goes on where it was. It bounds the hold; it does not judge the migration.
 */
export const HOLD_LIMIT_MS = 10_000;
/** How long jobs may look for a moment without guest writes before the VM is stopped to give them one, in milliseconds. */
const PATIENCE_MS = 50;
const LOOK_EVERY_MS = 200;

/** How these jobs stand (`query-block-jobs`); a job that does not exist is not in the answer. */
export async function jobStates(qmp: Monitor, ids: readonly string[]): Promise<JobState[]> {
  const jobs = await qmp.execute('query-block-jobs');
  return jobs
    .filter(({ device }) => ids.includes(device))
    .map((job) => ({
      // QEMU calls the job's id `device`, after the device that it once named.
      id: job.device,
      status: job.status,
      ioStatus: job['io-status'],
      done: job.offset,
      total: job.len,
      ...(job.error !== undefined && { error: job.error }),
    }));
}

/** Waits until these jobs have looked at what there is to copy: from then on they see every write. */
export async function jobsBegun(qmp: Monitor, ids: readonly string[], clock: Clock): Promise<void> {
  for (;;) {
    const jobs = await jobStates(qmp, ids);
    // A job knows its length when it has looked; one that found nothing to do is ready at once.
    if (jobs.every(({ status, total }) => total > 0 || (status !== 'created' && status !== 'running'))) return;
    await jobChange(qmp, ids, clock, 5);
  }
}

/** Resolves when one of these jobs changes its state, and after `ms` at the latest. */
export async function jobChange(
  qmp: Monitor,
  ids: readonly string[],
  clock: Clock,
  ms: number,
  signal?: AbortSignal,
): Promise<void> {
  using changes = qmp.listen((event) => event.event === 'JOB_STATUS_CHANGE' && ids.includes(event.data.id));
  const limit = clock.timeout(ms);
  try {
    await changes.next({ signal: signal ? AbortSignal.any([signal, limit]) : limit });
  } catch (error) {
    if (!limit.aborted || signal?.aborted) throw error;
  }
}

/**
 * `job-complete` on every job at once, then waits for `pending` on all: both sides are identical, and the guest's I/O is
 * held from the first drain on.
 *
 * A job in background mode goes to `pending` only when it meets a moment without guest writes under way. A deep queue may
 * let it wait for half a second (measured: median 10 ms), while disks that are pending already are held; so after a
 * short while `stopVm` is called, and with the processors stopped the drain is the last there is to do.
 *
 * With I/O threads it is called first of all: `stop` and `cont` move the disks out of their threads and back, jobs with
 * them. QEMU (7.2 and 10.0) dies of `stop` while a job is in its last drain ("Assertion `job->paused ||
 * job_is_completed_locked(job)' failed"); and 7.2 hangs for good in a `cont` that meets requests which were held in the
 * thread before the `stop`. For the same reason a job that is cancelled has to be over before `cont`.
 *
 * So it is for folds, whatever the threads: QEMU 7.2 died of a `job-finalize` of two folds that a `stop` had met in their
 * last drain, in 4 of some 40 rounds on a busy machine and in the third of them with no patience at all ("Assertion
 * `child->perm & BLK_PERM_WRITE' failed"); with the stop first it was 25 rounds without a failure.
 *
 * Mirrors that do not drain are given up in the end. Folds are not: QEMU 7.2 dies of the cancel of one that was told to
 * complete (the same assertion), and they work on the guest's own storage, for which it waits with them or without.
 * @throws FerryError HOLD_FAILED, QMP_COMMAND; jobs that are pending by then stay so until they are cancelled
 */
export async function holdJobs(
  qmp: Monitor,
  ids: readonly string[],
  clock: Clock,
  stopVm: () => Promise<void>,
): Promise<void> {
  const threads = await qmp.execute('query-iothreads');
  const folds = (await qmp.execute('query-block-jobs')).some(
    ({ device, type }) => ids.includes(device) && type === 'commit',
  );
  using changes = qmp.listen((event) => event.event === 'JOB_STATUS_CHANGE' && ids.includes(event.data.id));
  const began = clock.monotonic();
  let stopped = threads.length > 0 || folds;
  if (stopped) await stopVm();
  await Promise.all(ids.map((id) => qmp.execute('job-complete', { id })));
  const open = new Set(ids);
  while (open.size > 0) {
    const limit = stopped ? HOLD_LIMIT_MS : PATIENCE_MS;
    const change = await (folds ? changes.next() : nextUntil(changes, clock, limit - (clock.monotonic() - began)));
    if (change === undefined && stopped) throw notDrained(open);
    if (change === undefined) {
      stopped = true;
      await stopVm();
    } else if (change.event === 'JOB_STATUS_CHANGE') {
      const { id, status } = change.data;
      if (status === 'pending') open.delete(id);
      if (status === 'aborting' || status === 'concluded') throw await ended(qmp, id, status);
    }
  }
}

/** The next event, or undefined when none comes within `ms` milliseconds. */
async function nextUntil(queue: QmpEventQueue, clock: Clock, ms: number): Promise<QmpEvent | undefined> {
  const limit = clock.timeout(ms);
  try {
    return await queue.next({ signal: limit });
  } catch (error) {
    if (limit.aborted) return undefined;
    throw error;
  }
}

function notDrained(open: ReadonlySet<string>): FerryError {
  const reason = `not drained within ${HOLD_LIMIT_MS / 1000} s: the storage is too slow or does not answer`;
  return ferryError('HOLD_FAILED', { jobs: [...open].join(', '), reason });
}

async function ended(qmp: Monitor, id: string, status: string): Promise<FerryError> {
  const [job] = await jobStates(qmp, [id]);
  return ferryError('HOLD_FAILED', { jobs: id, reason: job?.error ?? `it ended (${status})` });
}

/**
 * `job-finalize` on every job at once. When it returns, each has been swapped or had been before; the guest's I/O goes on.
 * @throws FerryError QMP_COMMAND when a job is still there and cannot be finalized
 */
export async function finalizeJobs(qmp: Monitor, ids: readonly string[]): Promise<void> {
  const outcomes = await Promise.allSettled(ids.map((id) => qmp.execute('job-finalize', { id })));
  for (const [index, outcome] of outcomes.entries()) {
    if (outcome.status === 'fulfilled') continue;
    const [job] = await jobStates(qmp, ids.slice(index, index + 1));
    // Gone or concluded: an interrupted attempt had finalized it.
    if (job !== undefined && job.status !== 'concluded') throw outcome.reason;
  }
}

/**
 * Waits until these jobs, which were finalized or cancelled, are over, and dismisses them.
 * @returns the jobs that ended with an error, and QEMU's text for it
 */
export async function settleJobs(
  qmp: Monitor,
  ids: readonly string[],
  clock: Clock,
): Promise<ReadonlyMap<string, string>> {
  const errors = new Map<string, string>();
  for (;;) {
    const jobs = await jobStates(qmp, ids);
    if (jobs.length === 0) return errors;
    for (const { id, status, error } of jobs) {
      if (status !== 'concluded') continue;
      if (error !== undefined) errors.set(id, error);
      await qmp.execute('job-dismiss', { id }).catch(ignoreGone);
    }
    if (jobs.some(({ status }) => status !== 'concluded')) await jobChange(qmp, ids, clock, LOOK_EVERY_MS);
  }
}

/**
 * Ends these jobs without a swap, in whatever state they are, and waits until they are gone. Safe under load because they
 * run in background mode (`startMirror` says what happens to others).
 * @throws FerryError QMP_COMMAND when a job goes on and cannot be cancelled
 */
export async function cancelJobs(qmp: Monitor, ids: readonly string[], clock: Clock): Promise<void> {
  const jobs = await jobStates(qmp, ids);
  const live = jobs.filter(isLive).map(({ id }) => id);
  const outcomes = await Promise.allSettled(live.map((id) => qmp.execute('job-cancel', { id })));
  for (const [index, outcome] of outcomes.entries()) {
    if (outcome.status === 'fulfilled') continue;
    if (!isQmpCommandError(outcome.reason)) throw outcome.reason;
    // It may have ended by itself between the look and the command; one that goes on would be waited for in vain.
    const [job] = await jobStates(qmp, live.slice(index, index + 1));
    if (job !== undefined && isLive(job)) throw outcome.reason;
  }
  await settleJobs(qmp, ids, clock);
}

function isLive({ status }: JobState): boolean {
  return status !== 'concluded' && status !== 'aborting';
}

/** A job may end by itself between the look and the command: what was wanted is so. */
function ignoreGone(error: unknown): void {
  if (!isQmpCommandError(error)) throw error;
}
