import { EXIT } from '../../base/index.ts';
import { makePlan, type MigrationPlan, planRefused, takeSurvey, withKeptSnapshots } from '../../migration/index.ts';
import type { VirtualMachine } from '../../vm/index.ts';
import type { Action, Cli } from '../cli.ts';
import { connectVm, type VmChoice } from '../find-vm.ts';
import { openJournal } from '../open-journal.ts';
import { type MigrationOptions, migrationRequest } from '../migration-options.ts';

/** `blockferry plan`: what `migrate` would do with the same options. Touches nothing. */
export function plan(choice: VmChoice, options: MigrationOptions): Action {
  return async (cli) => {
    await using vm = await connectVm(cli, choice);
    const made = await planMigration(cli, vm, options);
    cli.renderer.plan(made);
    return {
      outcome: 'planned',
      exitStatus: EXIT.done,
      message: 'this is what a migration would do; nothing was touched',
    };
  };
}

/**
 * Looks, and decides what a migration will do.
 * @throws FerryError PLAN_REFUSED
 */
export async function planMigration(cli: Cli, vm: VirtualMachine, options: MigrationOptions): Promise<MigrationPlan> {
  const { disks } = await vm.inventory();
  const request = migrationRequest(options, disks, cli.surroundings.cwd);
  const survey = await takeSurvey(vm, request, cli.clock);
  using journal = openJournal(cli);
  const { plan: made, refusals } = makePlan(withKeptSnapshots(survey, journal.snapshots(vm.identity)));
  if (made === undefined) throw planRefused(vm.identity.name, refusals);
  return made;
}
