import { ferryError } from '../../base/index.ts';
import type { FoldJob, JobState } from '../../vm/index.ts';
import { commitRecord, removeMark } from './commit-record.ts';
import { cancelGroup, finishGroup, jobGroup } from './job-group.ts';
import { pivot } from './pivot.ts';
import type { Run } from '../run.ts';
import { requireAnswers, type Side, untilAnswering } from '../storage-answers.ts';
import { isTargetOpen } from '../target-files.ts';
import { beforeStop, noteStop, wakeVm } from './vm-stop.ts';

/**
 * Merges overlays into the images below them while the guest runs, as a swap of its own: held `pending`, a record, then
 * the finalize. After the record the overlays are stale and would hide newer writes, so nothing may open them again.
 *
 * `fold` is the end of a migration, on the target; `fold-back` its undoing, on the source.
 *
 * @param all the folds of the whole group; an overlay that no snapshot has put on its image needs none
 */
export async function foldGroup(run: Run, kind: 'fold' | 'fold-back', all: readonly FoldJob[]): Promise<void> {
  const { vm, ledger, journal, plan } = run;
  const every = all.map(({ job }) => job);
  const side = kind === 'fold' ? 'target' : 'source';
  if (journal.commitRecord(plan.id, kind) !== undefined) {
    // Somebody died between the record and the last finalize: what is still held goes forward. The jobs of disks that
    // were released are there to be dismissed, too.
    await finishGroup(run, every);
    await removeMark(run, kind);
    ledger.gone('job', ...every);
    return;
  }
  // Jobs of an interrupted attempt that did not come to its record: the merge begins again.
  await cancelGroup(run, every, side);
  await removeMark(run, kind);
  const folds: FoldJob[] = [];
  // Without a record none was folded, so an overlay that lies on an image holds data, whether its device is still plugged
  // in or not; the snapshot puts all of them there or none.
  for (const fold of all) if (await vm.hasBacking(fold.overlay)) folds.push(fold);
  if (folds.length === 0) return;
  const ids = folds.map(({ job }) => job);
  for (const { disk, job } of folds) ledger.plan('job', job, kind, disk);
  await untilAnswering(run, side);
  try {
    await vm.startFolds(folds, beforeStop(run));
  } catch (error) {
    // Those that did start are not left to run on.
    await jobGroup(run, ids, side).cancel();
    throw error;
  } finally {
    const ms = await wakeVm(run);
    if (ms !== undefined) run.emit({ type: 'held', kind: 'start', ms, disks: folds.length });
  }
  ledger.made('job', ...ids);
  const swap = jobGroup(run, ids, side);
  try {
    await untilReady(run, folds);
  } catch (error) {
    await swap.cancel();
    throw error;
  }
  const group = {
    ...swap,
    // `pending` makes the image below durable, and it is where it belongs already.
    check: nothing,
    flush: nothing,
    attach: nothing,
    ask: async () => {
      try {
        await askBoth(run, side);
      } catch (error) {
        await swap.cancel();
        throw error;
      }
    },
    // Without a limit. A fold that was told to complete is not given up: QEMU 7.2 dies of the cancel under load
    // ("Assertion `child->perm & BLK_PERM_WRITE' failed"). And what it works on is the guest's own storage: where that
    // hangs, the guest waits for it with us or without.
    hold: () => vm.hold(ids, Number.POSITIVE_INFINITY, noteStop(run)),
  };
  const held = await pivot(group, commitRecord(run, kind), run.clock);
  await removeMark(run, kind);
  ledger.gone('job', ...ids);
  run.emit({ type: 'held', kind: 'fold', ms: held, disks: folds.length });
}

/** Nothing is told to complete while a storage that `stop` would flush does not answer; the guest's own is waited for. */
async function askBoth(run: Run, side: Side): Promise<void> {
  await untilAnswering(run, side);
  if (side === 'target') await requireAnswers(run, 'source');
  else if (isTargetOpen(run)) await requireAnswers(run, 'target');
}

async function untilReady(run: Run, folds: readonly FoldJob[]): Promise<void> {
  const ids = folds.map(({ job }) => job);
  for (;;) {
    const jobs = await run.vm.jobs(ids);
    for (const fold of folds) {
      const job = jobs.find(({ id }) => id === fold.job);
      const fault = foldFault(job);
      if (fault !== undefined) throw ferryError('FOLD_FAILED', { disk: fold.disk, reason: fault });
      if (job) run.report({ phase: 'fold', key: fold.disk, disks: [fold.disk], done: job.done, total: job.total });
    }
    if (jobs.every(({ status }) => status === 'ready')) return;
    await run.vm.jobChange(ids, 500);
  }
}

function foldFault(job: JobState | undefined): string | undefined {
  if (job === undefined) return 'the block-commit job is gone';
  if (job.error !== undefined) return job.error;
  if (job.ioStatus !== undefined && job.ioStatus !== 'ok') return `its I/O status is ${job.ioStatus}`;
  return undefined;
}

const nothing = (): Promise<void> => Promise.resolve();
