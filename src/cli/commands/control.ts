import { EXIT, ferryError } from '../../base/index.ts';
import { askMigration, type ControlCommand } from '../../migration/index.ts';
import type { Action } from '../cli.ts';
import { openJournal, unfinishedMigration } from '../open-journal.ts';
import { takeOver } from '../take-over.ts';

/** `blockferry pause` and `set-speed`: asks the process that drives the migration. @throws FerryError NO_OWNER */
export function ask(idOrPrefix: string, command: ControlCommand): Action {
  return async (cli) => {
    using journal = openJournal(cli);
    const { id } = unfinishedMigration(journal, idOrPrefix);
    const answer = await askMigration(journal, id, command);
    if (answer === undefined) throw ferryError('NO_OWNER', { id, command: command.command });
    return { outcome: 'asked', exitStatus: EXIT.done, message: answer };
  };
}

/** `blockferry resume`: ends a pause; a migration that nobody drives is gone on with in the foreground. */
export function resume(idOrPrefix: string): Action {
  return async (cli) => {
    using journal = openJournal(cli);
    const { id } = unfinishedMigration(journal, idOrPrefix);
    const answer = await askMigration(journal, id, { command: 'resume' });
    if (answer === undefined) return await takeOver(cli, id, 'done');
    return { outcome: 'asked', exitStatus: EXIT.done, message: answer };
  };
}
