import { ferryError } from '../base/index.ts';
import { Journal, type Migration, stateDirectory } from '../journal/index.ts';
import type { Cli } from './cli.ts';

/** The journal, for who looks on only. */
export function openJournal(cli: Cli): Journal {
  return Journal.open(stateDirectory(cli.options.stateDir), { readOnly: true });
}

/** An unfinished migration by the beginning of its id. @throws FerryError NO_SUCH_MIGRATION, MIGRATION_FINISHED, … */
export function unfinishedMigration(journal: Journal, idOrPrefix: string): Migration {
  const row = journal.findMigration(idOrPrefix);
  if (row.finishedAt !== undefined) throw ferryError('MIGRATION_FINISHED', { id: row.id, state: row.state });
  return row;
}
