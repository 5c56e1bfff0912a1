import { ferryError, isFerryError, messageOf } from '../base/index.ts';
import { Journal, type Migration as JournalRow, stateDirectory } from '../journal/index.ts';
import { Migration } from '../migration/index.ts';
import { QemuVm } from '../vm/index.ts';
import type { Cli } from './cli.ts';
import { drive, migrationDeps } from './drive.ts';
import { parseQmpAddress } from './qmp-address.ts';
import type { CommandResult } from './terminal/renderer.ts';

/**
 * Goes on with a migration that nobody drives, in the foreground.
 * @param way `rolled-back`: undo it; `done`: wherever it was going
 * @throws FerryError VM_GONE, VM_REPLACED, TOO_LATE; what `Migration.takeOver` throws
 */
export async function takeOver(cli: Cli, id: string, way: 'done' | 'rolled-back'): Promise<CommandResult> {
  using journal = Journal.open(stateDirectory(cli.options.stateDir));
  const row = journal.migration(id);
  if (way === 'rolled-back' && journal.commitRecord(id, 'pivot')) throw ferryError('TOO_LATE', { id });
  await using vm = await reconnect(cli, journal, row);
  await using migration = await Migration.takeOver(id, migrationDeps(cli, journal, vm));
  if (way === 'rolled-back') migration.control.abort();
  return await drive(cli, migration, way);
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
