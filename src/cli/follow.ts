import { ferryError, isFerryError } from '../base/index.ts';
import { type Journal, type JournalEvent, ownerPid } from '../journal/index.ts';
import type { MigrationEvent, MigrationPlan, ProgressReport } from '../migration/index.ts';
import type { Cli } from './cli.ts';
import type { Ending } from './exit-status.ts';

const LOOK_EVERY_MS = 200;

/** The number of the last event so far: where to begin to follow. */
export function lastEvent(journal: Journal, id: string): number {
  return journal.events({ migration: id }).at(-1)?.seq ?? 0;
}

/**
 * Shows what another process does with a migration, out of the journal, until it ends.
 * @param after the number of the last event that is not shown
 * @throws FerryError OWNER_LOST when that process goes away before the end
 */
export async function follow(cli: Cli, journal: Journal, id: string, after: number): Promise<Ending> {
  const { renderer, clock } = cli;
  const plan = journal.migration(id).plan as MigrationPlan;
  renderer.begin(plan);
  const shown = new Map<string, number>();
  let seq = after;
  for (;;) {
    // Asked before the events are read: what an owner wrote before it went away is seen.
    const alive = await isDriven(journal, id);
    for (const record of journal.events({ migration: id, after: seq })) {
      seq = record.seq;
      const event = eventOf(record);
      renderer.event(event);
      if (event.type === 'finished') return { kind: event.outcome, message: event.message };
    }
    for (const record of journal.progress(id)) {
      if (shown.get(record.key) === record.at) continue;
      shown.set(record.key, record.at);
      renderer.progress(reportOf(record, plan));
    }
    if (!alive) throw ferryError('OWNER_LOST', { id });
    await clock.sleep(LOOK_EVERY_MS);
  }
}

/** An owner that is going away may take the question and not answer it any more. */
async function isDriven(journal: Journal, id: string): Promise<boolean> {
  try {
    return (await ownerPid(journal.dir, id)) !== undefined;
  } catch (error) {
    if (isFerryError(error, 'OWNER_LOST')) return false;
    throw error;
  }
}

/** The event as it was when it was written. */
export function eventOf({ type, payload }: Pick<JournalEvent, 'type' | 'payload'>): MigrationEvent {
  return { type, ...(payload as object) } as MigrationEvent;
}

/** Progress as it was reported: the journal keeps it under `PHASE KEY`, without the disks. */
export function reportOf(
  record: { readonly key: string; readonly done: number; readonly total: number; readonly rate?: number },
  plan: Pick<MigrationPlan, 'copies'>,
): ProgressReport {
  const { done, total, rate } = record;
  const at = record.key.indexOf(' ');
  const phase = record.key.slice(0, at) as ProgressReport['phase'];
  const key = record.key.slice(at + 1);
  const disks = plan.copies.find(({ target }) => target === key)?.disks ?? [key];
  return { phase, key, disks, done, total, ...(rate !== undefined && { rate }) };
}
