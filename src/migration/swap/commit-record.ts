import { dirname, join } from 'node:path';
import { ferryError } from '../../base/index.ts';
import type { CommitKind } from '../../journal/index.ts';
import type { MigrationPlan } from '../plan/plan.ts';
import type { CommitRecord } from './pivot.ts';
import type { Run } from '../run.ts';

export const COMMIT_KINDS: readonly CommitKind[] = ['pivot', 'fold', 'fold-back'];

/** How long the guest, which waits, waits for a storage to take a mark, in milliseconds. */
const MARK_WITHIN_MS = 2000;

/** The journal's commit record of one swap of this migration. */
export function commitRecord(run: Run, kind: CommitKind): CommitRecord {
  const { journal, plan, ledger } = run;
  return {
    open() {
      ledger.plan('file', voidMark(plan, kind), 'void-mark');
      const quiet = journal.quiesce();
      return {
        write: () => journal.writeCommitRecord(plan.id, kind, { disks: plan.disks.map(({ id }) => id) }),
        async revoke(reason) {
          try {
            journal.voidCommitRecord(plan.id, kind, reason);
          } catch (error) {
            await makeMark(run, kind);
            throw error;
          }
        },
        [Symbol.dispose]: () => quiet[Symbol.dispose](),
      };
    },
  };
}

/**
 * A symbolic link, on the storage that the record would make the truth, which says that it does not count: for the case
 * that neither the record nor its revocation could be written for certain. Until the journal can be written again, the
 * record may come back with the next process that reads it. Whoever finds the images there finds the mark beside them.
 */
export function voidMark({ id, disks }: MigrationPlan, kind: CommitKind): string {
  const [first] = disks;
  const overlay = (kind === 'fold-back' ? first?.sourceOverlay : first?.targetOverlay) ?? '/';
  return join(dirname(overlay), `blockferry-${id}-${kind}.void`);
}

async function makeMark({ host, plan, clock }: Run, kind: CommitKind): Promise<void> {
  const mark = voidMark(plan, kind);
  const over = new AbortController();
  const made = host.makeLink('void', mark).then(() => host.syncFolder(dirname(mark)));
  const late = clock.sleep(MARK_WITHIN_MS, over.signal).then(() => {
    throw ferryError('STORAGE_FAILED', { reason: `${mark} could not be made within ${MARK_WITHIN_MS / 1000} s` });
  });
  try {
    await Promise.race([made, late]);
  } finally {
    over.abort();
    // Whichever came second is of no interest.
    void Promise.allSettled([made, late]);
  }
}

/**
 * When a swap is over, or taken back, its mark is not needed any more; mostly it was never made. Also before a record is
 * written again, which the mark of an earlier attempt would make void.
 */
export async function removeMark(run: Pick<Run, 'plan' | 'ledger' | 'host'>, kind: CommitKind): Promise<void> {
  const { plan, ledger, host } = run;
  const mark = voidMark(plan, kind);
  if (!ledger.live('file').includes(mark)) return;
  if ((await host.fileMark(mark)) !== undefined) await host.removeFile(mark);
  ledger.gone('file', mark);
}

/**
 * Does in the journal what a mark says. The first thing that whoever goes on with a migration does: every decision rests on
 * the records. Where no record stands there is nothing to look for, and no storage that may hang is touched.
 */
export async function heedMarks({ journal, plan, host }: Pick<Run, 'journal' | 'plan' | 'host'>): Promise<void> {
  for (const kind of COMMIT_KINDS) {
    if (journal.commitRecord(plan.id, kind) === undefined) continue;
    if ((await host.fileMark(voidMark(plan, kind))) === undefined) continue;
    const reason = 'neither it nor its revocation could be written: a mark on the storage says that it is void';
    journal.voidCommitRecord(plan.id, kind, reason);
  }
}
