import { hostname } from 'node:os';
import { ferryError, isFerryError, messageOf } from '../base/index.ts';
import { Journal, type Migration as JournalRow, stateDirectory } from '../journal/index.ts';
import { Migration, type MigrationPlan, recoverOffline } from '../migration/index.ts';
import { processExists, QemuVm } from '../vm/index.ts';
import type { Cli } from './cli.ts';
import { drive, migrationDeps } from './drive.ts';
import { endingResult } from './exit-status.ts';
import { parseQmpAddress } from './qmp-address.ts';
import type { CommandResult } from './terminal/renderer.ts';

/**
 * Goes on with a migration that nobody drives, in the foreground; where its QEMU is gone, brings the disks to where the VM
 * can be started from.
 * @param way `rolled-back`: undo it; `done`: wherever it was going
 * @throws FerryError VM_GONE, VM_REPLACED, TOO_LATE; what `Migration.takeOver` throws
 */
export async function takeOver(cli: Cli, id: string, way: 'done' | 'rolled-back'): Promise<CommandResult> {
  using journal = Journal.open(stateDirectory(cli.options.stateDir));
  const row = journal.migration(id);
  if (row.vm.host === hostname() && !(await processExists(row.vm.process)))
    return await recover(cli, journal, row, way);
  if (way === 'rolled-back' && journal.commitRecord(id, 'pivot')) throw ferryError('TOO_LATE', { id });
  await using vm = await reconnect(cli, journal, row);
  await using migration = await Migration.takeOver(id, migrationDeps(cli, journal, vm));
  if (way === 'rolled-back') migration.control.abort();
  return await drive(cli, migration, way);
}

/** The VM has ended, or died: its disks are brought to where it can be started from. */
async function recover(
  cli: Cli,
  journal: Journal,
  { id, vm, plan }: JournalRow,
  way: 'done' | 'rolled-back',
): Promise<CommandResult> {
  cli.renderer.begin(plan as MigrationPlan);
  const outcome = await recoverOffline(id, { journal, onEvent: (event) => cli.renderer.event(event) });
  const { result, error } = endingResult({ id, vm }, outcome, way);
  if (error) cli.renderer.error(error, cli);
  return result;
}

async function reconnect(cli: Cli, journal: Journal, { id, vm }: JournalRow): Promise<QemuVm> {
  const { name, address } = vm;
  let there: QemuVm;
  try {
    there = await QemuVm.connect(parseQmpAddress(address, '/'), { clock: cli.clock });
  } catch (error) {
    if (!isFerryError(error, 'QMP_NO_SOCKET', 'QMP_REFUSED', 'VM_PROCESS_UNKNOWN')) throw error;
    const truth = journal.commitRecord(id, 'pivot')
      ? 'The disks have been swapped: the target holds the newest data of every disk.'
      : 'The disks have not been swapped: the source holds the newest data of every disk, in the overlay beside each image.';
    throw ferryError('VM_GONE', { vm: name, id, address, reason: messageOf(error), truth }, { cause: error });
  }
  if (there.identity.process === vm.process) return there;
  await there[Symbol.asyncDispose]();
  throw ferryError('VM_REPLACED', { vm: name, address });
}
