import { EXIT, ferryError, isFerryError } from '../../base/index.ts';
import { Journal, type Migration as JournalRow, ownerPid, removeDeadSockets } from '../../journal/index.ts';
import type { MigrationEvent, MigrationPlan, Outcome } from '../../migration/index.ts';
import type { Action, Cli } from '../cli.ts';
import { runToEnd } from '../drive.ts';
import { asFerryError, endingResult, errorResult } from '../exit-status.ts';
import { openJournal, unfinishedMigration } from '../open-journal.ts';
import { recoverDisks } from '../recover-disks.ts';
import { isAlive, take, type Taken } from '../take-over.ts';
import type { CommandResult } from '../terminal/renderer.ts';

export interface RecoverOptions {
  /** Back to the source where that is still possible. */
  readonly back?: boolean;
}

/**
 * `blockferry recover`: brings a migration that nobody drives to one of its two ends, or every one. Guests that are held are
 * let go first, all of them; then each migration is ended in turn, and one that fails does not keep the others from it. At last
 * it is found out what became of snapshots whose taker died.
 */
export function recover(idOrPrefix: string | undefined, { back = false }: RecoverOptions): Action {
  return async (cli) => {
    const { dir, rows, snapshots } = unfinished(cli, idOrPrefix);
    if (rows.length === 0) {
      const settled = snapshots ? await settle(cli) : [];
      await removeDeadSockets(dir, cli.clock);
      if (settled.length > 0) return summary(settled);
      return { outcome: 'done', exitStatus: EXIT.done, message: `no unfinished migration in ${dir}` };
    }
    using journal = Journal.open(dir);
    const found = await Promise.all(rows.map(async (row) => await begin(cli, journal, row)));
    const results: CommandResult[] = [];
    try {
      for (const each of found) {
        if (each.kind === 'driven' && idOrPrefix !== undefined)
          throw ferryError('MIGRATION_OWNED', { id: each.row.id });
        const result = await end(cli, journal, each, back);
        if (found.length > 1) cli.renderer.note(`${each.row.id} of ${each.row.vm.name}: ${result.message}`);
        results.push(result);
        // The terminal is gone: the others stay as they are, with their guests free.
        if (result.outcome === 'left') break;
      }
    } finally {
      for (const each of found) if (each.kind === 'taken') await each.taken[Symbol.asyncDispose]();
    }
    if (snapshots) results.push(...(await settle(cli)));
    await removeDeadSockets(dir, cli.clock);
    return summary(results);
  };
}

interface Unfinished {
  readonly dir: string;
  readonly rows: readonly JournalRow[];
  /** Whether there are unfinished snapshots without mirrors as well. */
  readonly snapshots: boolean;
}

function unfinished(cli: Cli, idOrPrefix: string | undefined): Unfinished {
  using journal = openJournal(cli);
  const { dir } = journal;
  if (idOrPrefix !== undefined) return { dir, rows: [unfinishedMigration(journal, idOrPrefix)], snapshots: false };
  return { dir, rows: journal.migrations({ unfinished: true }), snapshots: journal.snapshotIntents().length > 0 };
}

/** Loaded when it is needed: a guest that is held waits while `recover` starts. */
async function settle(cli: Cli): Promise<readonly CommandResult[]> {
  const { settleSnapshots } = await import('../snapshot/settle-snapshots.ts');
  return await settleSnapshots(cli);
}

/** What is known of a migration once its guest is free. */
type Found = { readonly row: JournalRow } & (
  | { readonly kind: 'driven'; readonly by: string }
  | { readonly kind: 'gone' }
  /** Its events are shown from `show` on, when its turn comes: the lines of several must not mix. */
  | { readonly kind: 'taken'; readonly taken: Taken; readonly show: () => void }
  | { readonly kind: 'failed'; readonly error: unknown }
);

async function begin(cli: Cli, journal: Journal, row: JournalRow): Promise<Found> {
  try {
    const pid = await ownerPid(journal.dir, row.id);
    if (pid !== undefined) return { kind: 'driven', row, by: `process ${pid}` };
    if (!(await isAlive(row))) return { kind: 'gone', row };
    const early: MigrationEvent[] = [];
    let show = (event: MigrationEvent): void => void early.push(event);
    const taken = await take(cli, journal, row, { onEvent: (event) => show(event) });
    const begun = (): void => {
      cli.renderer.begin(row.plan as MigrationPlan);
      show = (event) => cli.renderer.event(event);
      early.forEach(show);
    };
    return { kind: 'taken', row, taken, show: begun };
  } catch (error) {
    if (isFerryError(error, 'MIGRATION_OWNED')) return { kind: 'driven', row, by: 'another process' };
    return { kind: 'failed', row, error };
  }
}

async function end(cli: Cli, journal: Journal, found: Found, back: boolean): Promise<CommandResult> {
  const { row } = found;
  try {
    switch (found.kind) {
      case 'driven': {
        return { outcome: 'driven', exitStatus: EXIT.done, message: `${found.by} drives it, and it is left alone` };
      }
      case 'gone': {
        cli.renderer.begin(row.plan as MigrationPlan);
        return ended(cli, row, await recoverDisks(cli, journal, row));
      }
      case 'taken': {
        const { migration } = found.taken;
        if (back && journal.commitRecord(row.id, 'pivot') === undefined) migration.control.abort();
        found.show();
        return ended(cli, row, await runToEnd(cli, journal, migration));
      }
      case 'failed': {
        throw found.error;
      }
      default: {
        throw new Error(`no such finding: ${String(found satisfies never)}`);
      }
    }
  } catch (error) {
    const failure = asFerryError(error);
    cli.renderer.error(failure, cli);
    return errorResult(failure);
  }
}

/** Either end is what was asked for. */
function ended(cli: Cli, row: JournalRow, outcome: Outcome): CommandResult {
  const wanted = outcome.kind === 'rolled-back' ? 'rolled-back' : 'done';
  const { result, error } = endingResult(row, outcome, wanted);
  if (error) cli.renderer.error(error, cli);
  return result;
}

/** One for all; its exit status is the worst. */
function summary(results: readonly CommandResult[]): CommandResult {
  const [only] = results;
  if (only && results.length === 1) return only;
  const kinds = Map.groupBy(results, ({ outcome }) => outcome);
  const message = [...kinds].map(([outcome, of]) => `${of.length} ${OUTCOME_TEXT[outcome] ?? outcome}`).join(', ');
  return { outcome: 'recovered', exitStatus: Math.max(...results.map(({ exitStatus }) => exitStatus)), message };
}

const OUTCOME_TEXT: Readonly<Record<string, string>> = {
  done: 'done',
  'rolled-back': 'rolled back',
  driven: 'driven by others',
  left: 'left as they are',
  mirrored: 'left mirrored',
  attention: 'unfinished',
  error: 'not recovered',
};
