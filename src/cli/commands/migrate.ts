import { createInterface } from 'node:readline/promises';
import { ferryError } from '../../base/index.ts';
import { Journal, stateDirectory } from '../../journal/index.ts';
import { Migration } from '../../migration/index.ts';
import type { Action, Cli } from '../cli.ts';
import { drive, migrationDeps } from '../drive.ts';
import { connectVm, type VmChoice } from '../find-vm.ts';
import type { MigrationOptions } from '../migration-options.ts';
import { planMigration } from './plan.ts';

export interface MigrateOptions extends MigrationOptions {
  /** Do not ask. */
  readonly yes?: boolean;
}

/** `blockferry migrate`: plans, asks, and drives the migration to its end in the foreground. */
export function migrate(choice: VmChoice, options: MigrateOptions): Action {
  return async (cli) => {
    if (!options.yes && !cli.interactive) {
      const why = 'there is no terminal to ask on, and --yes is not given';
      throw ferryError('NOT_CONFIRMED', { why });
    }
    await using vm = await connectVm(cli, choice);
    const plan = await planMigration(cli, vm, options);
    cli.renderer.plan(plan);
    if (!options.yes) await confirm(cli);
    using journal = Journal.open(stateDirectory(cli.options.stateDir));
    await using migration = await Migration.begin(plan, migrationDeps(cli, journal, vm));
    return await drive(cli, migration);
  };
}

async function confirm(cli: Cli): Promise<void> {
  const { stdin, stdout } = cli.surroundings;
  const lines = createInterface({ input: stdin, output: stdout });
  const gaveUp = new AbortController();
  lines.once('SIGINT', () => gaveUp.abort()).once('close', () => gaveUp.abort());
  try {
    const answer = await lines.question('Begin? [y/N] ', { signal: gaveUp.signal }).catch(() => '');
    if (!/^\s*y(?:es)?\s*$/i.test(answer)) throw ferryError('NOT_CONFIRMED', { why: 'the answer was not yes' });
  } finally {
    lines.close();
  }
}
