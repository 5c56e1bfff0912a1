import { EXIT } from '../../base/index.ts';
import { askMigration } from '../../migration/index.ts';
import type { Action } from '../cli.ts';
import { endingResult } from '../exit-status.ts';
import { follow, lastEvent } from '../follow.ts';
import { openJournal, unfinishedMigration } from '../open-journal.ts';
import { takeOver } from '../take-over.ts';

/** `blockferry abort`: the disks go back to the source, whoever drives the migration. */
export function abort(idOrPrefix: string, { wait }: { readonly wait: boolean }): Action {
  return async (cli) => {
    using journal = openJournal(cli);
    const { id, vm } = unfinishedMigration(journal, idOrPrefix);
    const after = lastEvent(journal, id);
    const answer = await askMigration(journal, id, { command: 'abort' });
    if (answer === undefined) return await takeOver(cli, id, 'rolled-back');
    if (!wait) return { outcome: 'asked', exitStatus: EXIT.done, message: answer };
    cli.renderer.note(answer);
    const { result, error } = endingResult({ id, vm }, await follow(cli, journal, id, after), 'rolled-back');
    if (error) cli.renderer.error(error, cli);
    return result;
  };
}
