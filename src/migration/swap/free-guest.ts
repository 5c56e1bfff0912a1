import type { CommitKind } from '../../journal/index.ts';
import { letGuestGo } from './guest-brake.ts';
import { thawGuest } from './guest-freeze.ts';
import { cutMirrorServer } from '../mirror-server.ts';
import { begunJobs, jobGroup, letGo } from './job-group.ts';
import type { Run } from '../run.ts';
import { isVmStopped, wakeVm } from './vm-stop.ts';

/** A group that was found held, and let go. */
export interface FreedGroup {
  readonly kind: CommitKind;
  /** Where the guest goes on. */
  readonly side: 'source' | 'target';
}

/**
 * Lets a guest go on whose I/O, processors or file systems a dead manager has left held: forward where the commit record of that
 * swap is written, back where it is not. The first thing that whoever takes over does; the steps do the rest.
 * @throws FerryError QMP_COMMAND, QMP_INTERRUPTED, GUEST_NOT_THAWED
 */
export async function freeGuest(run: Run): Promise<FreedGroup | undefined> {
  const { vm, journal, plan } = run;
  const stopped = isVmStopped(run);
  const groups = [
    { kind: 'pivot', ids: plan.disks.map(({ jobs }) => jobs.mirror) },
    { kind: 'fold', ids: plan.disks.map(({ jobs }) => jobs.fold) },
    { kind: 'fold-back', ids: plan.disks.map(({ jobs }) => jobs.foldBack) },
  ] as const;
  let freed: FreedGroup | undefined;
  for (const { kind, ids } of groups) {
    const jobs = await vm.jobs(begunJobs(run, ids));
    const committed = journal.commitRecord(plan.id, kind) !== undefined;
    const held = jobs.some(({ status }) => status === 'waiting' || status === 'pending');
    // Processors that were stopped without a record: jobs that have not drained yet, or that were just being started and
    // would miss what the guest writes from now on.
    if (!held && (!stopped || committed || jobs.length === 0)) continue;
    if (!committed && kind === 'pivot') await cutMirrorServer(run);
    await (committed ? jobGroup(run, ids, 'target').release() : letGo(run, ids));
    freed = { kind, side: kind === 'fold' || (kind === 'pivot' && committed) ? 'target' : 'source' };
  }
  await wakeVm(run);
  // Its agent answers only while the processors run.
  await thawGuest(run);
  await letGuestGo(run);
  return freed;
}
