import type { MigrationJournal } from '../migration-journal.ts';
import type { Run } from '../run.ts';

const ROLE = 'guest-frozen';
/** What is said of a guest that was thawed for somebody who had died. */
export const THAWED = 'the file systems of the guest may have been frozen since somebody died; they are thawed';
const name = ({ plan }: Run): string => `frozen-${plan.id}`;

/** When this process has had the file systems frozen, by the monotonic clock. */
const frozenAt = new WeakMap<Run, number>();

/** What is done before the guest's file systems are frozen: it is written to the ledger that they may be. */
export function noteFreeze(run: Run): () => void {
  return () => {
    run.ledger.plan('job', name(run), ROLE);
    run.ledger.made('job', name(run));
    frozenAt.set(run, run.clock.monotonic());
  };
}

/** Whether the guest's file systems may be frozen by this migration: it was about to do that, and has not thawed them since. */
export function mayBeFrozen(journal: Pick<MigrationJournal, 'ledger'>, id: string): boolean {
  return journal.ledger(id, { kind: 'job', states: ['planned', 'made'] }).some(({ role }) => role === ROLE);
}

/**
 * Thaws the guest's file systems if this migration has had them frozen, whoever drove it then.
 * @throws FerryError GUEST_NOT_THAWED
 */
export async function thawGuest(run: Run): Promise<void> {
  if (!mayBeFrozen(run.journal, run.plan.id)) return;
  await run.vm.thaw();
  const since = frozenAt.get(run);
  frozenAt.delete(run);
  run.ledger.gone('job', name(run));
  if (since === undefined) run.emit({ type: 'warning', message: THAWED });
  else run.emit({ type: 'frozen', ms: run.clock.monotonic() - since });
}
