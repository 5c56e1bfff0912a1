import { type Clock, type FerryError, ferryError } from '../../base/index.ts';
import { isQmpCommandError, type QmpEvent, type QmpEventQueue } from '../../qmp/index.ts';
import type { JobState } from '../virtual-machine.ts';
import type { Monitor } from './monitor.ts';

/** How long jobs may look for a moment without guest writes before the VM is stopped to give them one, in milliseconds. */
const PATIENCE_MS = 50;
const LOOK_EVERY_MS = 200;
const NEVER = new AbortController().signal;

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

/** Jobs that are started while the VM stands still, and for how many milliseconds it may. */
export interface Starting {
  readonly ids: readonly string[];
  readonly limitMs: number;
}

/**
 * What the commands that start jobs come to. QEMU may be waiting for a storage meanwhile, and then answers nobody.
 * @throws FerryError START_FAILED; the commands are done all the same when the storage comes back or is cut off
 */
export async function withinLimit<T>(work: Promise<T>, starting: Starting, clock: Clock): Promise<T> {
  const { limitMs } = starting;
  const limit = Number.isFinite(limitMs) ? clock.timeout(limitMs) : NEVER;
  // Nobody waits for it any more when the limit is over.
  work.catch(() => undefined);
  try {
    return await unlessAborted(work, limit);
  } catch (error) {
    throw limit.aborted && error === limit.reason ? notBegun(starting) : error;
  }
}

/**
 * Waits until these jobs have looked at what there is to copy: from then on they see every write. A job that finds nothing
 * says so when it has flushed its target, which may hang.
 * @param starting `until` when, by the monotonic clock
 * @throws FerryError START_FAILED
 */
export async function jobsBegun(
  qmp: Monitor,
  starting: Starting & { readonly until: number },
  clock: Clock,
): Promise<void> {
  const { ids, until } = starting;
  for (;;) {
    const jobs = await jobStates(qmp, ids);
    // A job knows its length when it has looked; one that found nothing to do is ready at once.
    if (jobs.every(({ status, total }) => total > 0 || (status !== 'created' && status !== 'running'))) return;
    if (clock.monotonic() > until) throw notBegun(starting);
    await jobChange(qmp, ids, clock, 5);
  }
}

function notBegun({ ids, limitMs }: Starting): FerryError {
  return ferryError('START_FAILED', { jobs: ids.join(', '), ms: limitMs });
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
 * @param limitMs the longest that the guest's I/O is held for jobs that do not drain; `Infinity`: they are waited for
 * @throws FerryError HOLD_FAILED, QMP_COMMAND; what `stopVm` throws. Jobs that are pending by then stay so until they are
 *   cancelled
 */
export async function holdJobs(
  qmp: Monitor,
  ids: readonly string[],
  limitMs: number,
  clock: Clock,
  stopVm: (limit: AbortSignal) => Promise<void>,
): Promise<void> {
  const threads = await qmp.execute('query-iothreads');
  const folds = (await qmp.execute('query-block-jobs')).some(
    ({ device, type }) => ids.includes(device) && type === 'commit',
  );
  using changes = qmp.listen((event) => event.event === 'JOB_STATUS_CHANGE' && ids.includes(event.data.id));
  const open = new Set(ids);
  const limit = Number.isFinite(limitMs) ? clock.timeout(limitMs) : NEVER;
  const began = clock.monotonic();
  try {
    let patience: number | undefined = threads.length > 0 || folds ? undefined : PATIENCE_MS;
    if (patience === undefined) await unlessAborted(stopVm(limit), limit);
    await unlessAborted(Promise.all(ids.map((id) => qmp.execute('job-complete', { id }))), limit);
    while (open.size > 0) {
      const left = limitMs - (clock.monotonic() - began);
      const change = await nextUntil(changes, clock, Math.min(left, patience ?? LOOK_EVERY_MS));
      if (change === undefined) {
        if (clock.monotonic() - began >= limitMs) throw notDrained(open, limitMs);
        if (patience !== undefined) await unlessAborted(stopVm(limit), limit);
        patience = undefined;
      } else if (change.event === 'JOB_STATUS_CHANGE') {
        const { id, status } = change.data;
        if (status === 'pending') open.delete(id);
        if (status === 'aborting' || status === 'concluded') throw await ended(qmp, id, status);
      }
    }
  } catch (error) {
    throw limit.aborted && error === limit.reason ? notDrained(open, limitMs) : error;
  }
}

/**
 * What the work comes to, or the signal's reason: QEMU may be waiting for a storage in its main loop, and then answers nobody
 * until that is cut off or comes back. What was asked of it is done when it does.
 */
async function unlessAborted<T>(work: Promise<T>, signal: AbortSignal): Promise<T> {
  signal.throwIfAborted();
  const { promise: aborted, reject } = Promise.withResolvers<never>();
  const onAbort = (): void => reject(signal.reason);
  signal.addEventListener('abort', onAbort, { once: true });
  try {
    return await Promise.race([work, aborted]);
  } finally {
    signal.removeEventListener('abort', onAbort);
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

function notDrained(open: ReadonlySet<string>, limitMs: number): FerryError {
  const reason = `not drained within ${limitMs} ms: the storage is too slow or does not answer`;
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
  const all = new Map<string, string>();
  for (;;) {
    const { left, errors } = await dismissJobs(qmp, ids);
    for (const [id, error] of errors) all.set(id, error);
    if (left.length === 0) return all;
    await jobChange(qmp, left, clock, LOOK_EVERY_MS);
  }
}

/** Dismisses those of these jobs that are over. Returns the others, and the errors with which those ended. */
export async function dismissJobs(
  qmp: Monitor,
  ids: readonly string[],
): Promise<{ readonly left: readonly string[]; readonly errors: ReadonlyMap<string, string> }> {
  const left: string[] = [];
  const errors = new Map<string, string>();
  for (const { id, status, error } of await jobStates(qmp, ids)) {
    if (error !== undefined) errors.set(id, error);
    // Refused, it may be gone, or be dismissed the next time.
    if (status !== 'concluded' || !(await accepted(qmp.execute('job-dismiss', { id })))) left.push(id);
  }
  return { left, errors };
}

/**
 * Has these jobs end without a swap, in whatever state they are. The command does not wait for their I/O, and a guest that
 * they held goes on; but they are there until it has come back. Safe under load because they run in background mode
 * (`mirrorArguments` says what happens to others).
 * @throws FerryError QMP_COMMAND when a job goes on and cannot be cancelled
 */
export async function cancelJobs(qmp: Monitor, ids: readonly string[]): Promise<void> {
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
}

function isLive({ status }: JobState): boolean {
  return status !== 'concluded' && status !== 'aborting';
}

/** Whether QEMU has done what it was told. */
async function accepted(command: Promise<unknown>): Promise<boolean> {
  try {
    await command;
    return true;
  } catch (error) {
    if (!isQmpCommandError(error)) throw error;
    return false;
  }
}
