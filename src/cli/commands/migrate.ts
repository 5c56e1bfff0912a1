import { createInterface } from 'node:readline/promises';
import { EXIT, ferryError } from '../../base/index.ts';
import { Journal, stateDirectory } from '../../journal/index.ts';
import { disksAreThere, Migration } from '../../migration/index.ts';
import type { Action, Cli } from '../cli.ts';
import { drive, migrationDeps } from '../drive.ts';
import { abandonedMigration, connectVm, type VmChoice } from '../find-vm.ts';
import { type MigrationOptions, migrationRequest } from '../migration-options.ts';
import type { CommandResult } from '../terminal/renderer.ts';
import { planMigration } from './plan.ts';
import { recover } from './recover.ts';

export interface MigrateOptions extends MigrationOptions {
  /** Do not ask. */
  readonly yes?: boolean;
}

/**
 * `blockferry migrate`: plans, asks, and drives the migration to its end in the foreground. A migration of the same VM that
 * somebody left unfinished comes to its end first.
 */
export function migrate(choice: VmChoice, options: MigrateOptions): Action {
  return async (cli) => {
    if (!options.yes && !cli.interactive) {
      const why = 'there is no terminal to ask on, and --yes is not given';
      throw ferryError('NOT_CONFIRMED', { why });
    }
    const recovered = await recoverFirst(cli, choice, options);
    if (recovered !== undefined && recovered.exitStatus !== EXIT.done) return recovered;
    await using vm = await connectVm(cli, choice);
    if (recovered?.outcome === 'done') {
      const { disks } = await vm.inventory();
      if (disksAreThere(disks, migrationRequest(options, disks, cli.surroundings.cwd))) return recovered;
    }
    const plan = await planMigration(cli, vm, options);
    cli.renderer.plan(plan);
    if (!options.yes) await confirm(cli, 'Begin?');
    using journal = Journal.open(stateDirectory(cli.options.stateDir));
    await using migration = await Migration.begin(plan, migrationDeps(cli, journal, vm));
    return await drive(cli, journal, migration);
  };
}

/** @returns how it ended; undefined when there was none */
async function recoverFirst(cli: Cli, choice: VmChoice, { yes }: MigrateOptions): Promise<CommandResult | undefined> {
  const left = await abandonedMigration(cli, choice);
  if (left === undefined) return undefined;
  const { id, vm } = left;
  cli.renderer.note(`${vm} has an unfinished migration, ${id}, which nobody drives: it has to come to its end first`);
  if (!yes) await confirm(cli, 'Recover it?');
  return await recover(id, {})(cli);
}

async function confirm(cli: Cli, question: string): Promise<void> {
  const { stdin, stdout } = cli.surroundings;
  const lines = createInterface({ input: stdin, output: stdout });
  const gaveUp = new AbortController();
  lines.once('SIGINT', () => gaveUp.abort()).once('close', () => gaveUp.abort());
  try {
    const answer = await lines.question(`${question} [y/N] `, { signal: gaveUp.signal }).catch(() => '');
    if (!/^\s*y(?:es)?\s*$/i.test(answer)) throw ferryError('NOT_CONFIRMED', { why: 'the answer was not yes' });
  } finally {
    lines.close();
  }
}
