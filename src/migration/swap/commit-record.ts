import type { CommitRecord } from './pivot.ts';
import type { Run } from '../run.ts';

/** The journal's commit record of one swap of this migration. */
export function commitRecord({ journal, plan }: Run, kind: 'pivot' | 'fold' | 'fold-back'): CommitRecord {
  return {
    open() {
      const quiet = journal.quiesce();
      return {
        write: () => journal.writeCommitRecord(plan.id, kind, { disks: plan.disks.map(({ id }) => id) }),
        revoke: (reason) => journal.voidCommitRecord(plan.id, kind, reason),
        [Symbol.dispose]: () => quiet[Symbol.dispose](),
      };
    },
  };
}
