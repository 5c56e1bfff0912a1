import type { Journal } from '../journal/index.ts';
import { isFerryError } from '../base/index.ts';
import type { Migration, MigrationDeps, Outcome } from '../migration/index.ts';
import type { VirtualMachine } from '../vm/index.ts';
import type { Cli } from './cli.ts';
import { endingResult } from './exit-status.ts';
import { Interrupts } from './interrupts.ts';
import { recoverDisks } from './recover-disks.ts';
import type { CommandResult } from './terminal/renderer.ts';

/** What a migration needs, with everything that happens going to the renderer. */
export function migrationDeps(cli: Cli, journal: Journal, vm: VirtualMachine): MigrationDeps {
  const { renderer, clock } = cli;
  return {
    journal,
    vm,
    clock,
    onEvent: (event) => renderer.event(event),
    onProgress: (progress) => renderer.progress(progress),
  };
}

/**
 * Drives a migration in the foreground to its end, and reports what came of it.
 * @param wanted how it ends when all goes as asked
 */
export async function drive(
  cli: Cli,
  journal: Journal,
  migration: Migration,
  wanted: 'done' | 'rolled-back' = 'done',
): Promise<CommandResult> {
  const { renderer } = cli;
  renderer.begin(migration.plan);
  const outcome = await runToEnd(cli, journal, migration);
  const { result, error } = endingResult(migration.plan, outcome, wanted);
  if (error) renderer.error(error, cli);
  else if (outcome.kind === 'left') renderer.note(outcome.message);
  return result;
}

/**
 * Drives it while signals and Ctrl-C mean what they mean for a migration. Where the VM ends meanwhile, its disks are brought
 * to where it can be started from at once: every moment counts until somebody starts it again.
 * @throws what `recoverDisks` throws
 */
export async function runToEnd(cli: Cli, journal: Journal, migration: Migration): Promise<Outcome> {
  const { renderer, surroundings, interactive } = cli;
  const outcome = await interruptible();
  if (outcome.kind !== 'attention' || !isFerryError(outcome.cause, 'VM_ENDED')) return outcome;
  renderer.note(outcome.cause.message);
  // Recovery is another way to drive it, and there is one driver at a time.
  await migration[Symbol.asyncDispose]();
  return await recoverDisks(cli, journal, migration.plan);

  async function interruptible(): Promise<Outcome> {
    using _ = new Interrupts(migration.control, renderer, interactive ? surroundings.stdin : undefined);
    return await migration.run();
  }
}
