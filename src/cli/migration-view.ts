import { isFerryError } from '../base/index.ts';
import { type Journal, type LedgerEntry, type Migration, ownerPid } from '../journal/index.ts';
import type { MigrationEvent, MigrationPlan, ProgressReport } from '../migration/index.ts';
import { eventOf, reportOf } from './follow.ts';

/** A migration as `list` shows it. Times are wall-clock milliseconds since 1970. */
export interface MigrationSummary {
  readonly id: string;
  readonly vm: Migration['vm'];
  readonly state: Migration['state'];
  readonly goal: Migration['goal'];
  readonly disks: readonly string[];
  /** Folders on the target. */
  readonly to: readonly string[];
  readonly createdAt: number;
  readonly updatedAt: number;
  readonly finishedAt?: number;
  readonly message?: string;
}

/** A migration as `status` shows it. */
export interface MigrationView extends MigrationSummary {
  /** Process id of who drives it; `none` when nobody does, `unknown` where this user may not ask. */
  readonly owner: number | 'none' | 'unknown';
  /** When the commit records were written. */
  readonly committed: { readonly pivot?: number; readonly fold?: number };
  readonly steps: readonly { readonly step: string; readonly state: string; readonly at: number }[];
  readonly progress: readonly ProgressReport[];
  /** Files, nodes and jobs that it made, or was about to make, and that are not gone. */
  readonly ledger: readonly Pick<LedgerEntry, 'kind' | 'name' | 'role' | 'state' | 'disk'>[];
  /** The last ones, oldest first. */
  readonly events: readonly { readonly at: number; readonly event: MigrationEvent }[];
}

/** How many events `status` shows. */
const LAST_EVENTS = 10;

export function migrationSummary(row: Migration): MigrationSummary {
  const { id, vm, state, goal, createdAt, updatedAt, finishedAt, message } = row;
  const { disks } = row.plan as MigrationPlan;
  return {
    id,
    vm,
    state,
    goal,
    disks: disks.map((disk) => disk.id),
    to: [...new Set(disks.map(({ folder }) => folder))],
    createdAt,
    updatedAt,
    ...(finishedAt !== undefined && { finishedAt }),
    ...(message !== undefined && { message }),
  };
}

/** All that the journal knows of a migration. Asks nobody but the owner whether it lives. */
export async function migrationView(journal: Journal, row: Migration): Promise<MigrationView> {
  const { id } = row;
  const pivot = journal.commitRecord(id, 'pivot')?.at;
  const fold = journal.commitRecord(id, 'fold')?.at;
  return {
    ...migrationSummary(row),
    owner: await ownerOfMigration(journal, id),
    committed: { ...(pivot !== undefined && { pivot }), ...(fold !== undefined && { fold }) },
    steps: journal.steps(id).map(({ step, state, at }) => ({ step, state, at })),
    progress: journal.progress(id).map((record) => reportOf(record, row.plan as MigrationPlan)),
    ledger: journal
      .ledger(id, { states: ['planned', 'made'] })
      .map(({ kind, name, role, state, disk }) => ({ kind, name, role, state, ...(disk !== undefined && { disk }) })),
    events: journal
      .events({ migration: id })
      .slice(-LAST_EVENTS)
      .map((record) => ({ at: record.at, event: eventOf(record) })),
  };
}

/** Who drives it. */
export async function ownerOfMigration(journal: Journal, id: string): Promise<MigrationView['owner']> {
  try {
    return (await ownerPid(journal.dir, id)) ?? 'none';
  } catch (error) {
    if (isFerryError(error, 'CONTROL_SOCKET', 'OWNER_LOST')) return 'unknown';
    throw error;
  }
}
