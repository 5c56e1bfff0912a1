import { hostname } from 'node:os';
import { ferryError, isFerryError, messageOf } from '../base/index.ts';
import { Journal, type Migration as JournalRow, stateDirectory } from '../journal/index.ts';
import { Migration, type MigrationDeps, type MigrationPlan } from '../migration/index.ts';
import { isOfThisBoot, loadLibvirt, pidOf, processExists, QemuVm, type VirtualMachine } from '../vm/index.ts';
import type { Cli } from './cli.ts';
import { drive, migrationDeps } from './drive.ts';
import { endingResult } from './exit-status.ts';
import { parseQmpAddress } from './qmp-address.ts';
import { isLibvirtUri, recoverDisks } from './recover-disks.ts';
import type { CommandResult } from './terminal/renderer.ts';

/** A monitor that answers does so in milliseconds; one that somebody holds never does. */
const GREET_WITHIN_MS = 10_000;

/**
 * Goes on with a migration that nobody drives, in the foreground; where its QEMU is gone, brings the disks to where the VM
 * can be started from.
 * @param way `rolled-back`: undo it; `done`: wherever it was going
 * @throws FerryError VM_GONE, VM_FORGOTTEN, VM_REPLACED, OTHER_HOST, TOO_LATE; what `Migration.takeOver` and `recoverDisks` throw
 */
export async function takeOver(cli: Cli, id: string, way: 'done' | 'rolled-back'): Promise<CommandResult> {
  using journal = Journal.open(stateDirectory(cli.options.stateDir));
  const row = journal.migration(id);
  if (!(await isAlive(row))) {
    cli.renderer.begin(row.plan as MigrationPlan);
    const { result, error } = endingResult(row, await recoverDisks(cli, journal, row), way);
    if (error) cli.renderer.error(error, cli);
    return result;
  }
  if (way === 'rolled-back' && journal.commitRecord(id, 'pivot')) throw ferryError('TOO_LATE', { id });
  await using vm = await reconnect(cli, journal, row);
  await using migration = await Migration.takeOver(id, migrationDeps(cli, journal, vm));
  if (way === 'rolled-back') migration.control.abort();
  return await drive(cli, journal, migration, way);
}

/**
 * Whether the QEMU that the migration began with still runs.
 * @throws FerryError OTHER_HOST when that cannot be told
 */
export async function isAlive({ id, vm }: JournalRow): Promise<boolean> {
  if (await processExists(vm.process)) return true;
  const here = hostname();
  if (vm.host === here || (await isOfThisBoot(vm.process))) return false;
  throw ferryError('OTHER_HOST', { id, vm: vm.name, host: vm.host, here });
}

/** A migration that this process drives now, with its connection to the VM. */
export interface Taken extends AsyncDisposable {
  readonly migration: Migration;
}

/** Takes a migration whose QEMU runs; a guest that is held is free when this resolves. */
export async function take(cli: Cli, journal: Journal, row: JournalRow, deps: Partial<MigrationDeps>): Promise<Taken> {
  await using rest = new AsyncDisposableStack();
  const vm = rest.use(await reconnect(cli, journal, row));
  const migration = rest.use(await Migration.takeOver(row.id, { ...migrationDeps(cli, journal, vm), ...deps }));
  const kept = rest.move();
  return { migration, [Symbol.asyncDispose]: () => kept.disposeAsync() };
}

async function reconnect(cli: Cli, journal: Journal, { id, vm }: JournalRow): Promise<VirtualMachine> {
  const { name, address } = vm;
  let there: VirtualMachine;
  const limit = AbortSignal.timeout(GREET_WITHIN_MS);
  try {
    there = isLibvirtUri(address)
      ? await (await loadLibvirt()).LibvirtVm.connect(address, vm.uuid, { clock: cli.clock })
      : await QemuVm.connect(parseQmpAddress(address, '/'), { clock: cli.clock, signal: limit });
  } catch (error) {
    // Its process was seen to run.
    if (isFerryError(error, 'NO_SUCH_VM', 'VM_NOT_RUNNING')) {
      throw ferryError('VM_FORGOTTEN', { vm: name, uri: address, pid: pidOf(vm.process) }, { cause: error });
    }
    const silent = limit.aborted && error === limit.reason;
    if (!silent && !isFerryError(error, 'QMP_NO_SOCKET', 'QMP_REFUSED', 'VM_PROCESS_UNKNOWN')) throw error;
    const truth = journal.commitRecord(id, 'pivot')
      ? 'The disks have been swapped: the target holds the newest data of every disk.'
      : 'The disks have not been swapped: the source holds the newest data of every disk, in the overlay beside each image.';
    const reason = silent ? 'it does not greet: another client holds it, or QEMU hangs' : messageOf(error);
    throw ferryError('VM_GONE', { vm: name, id, address, reason, truth }, { cause: error });
  }
  if (there.identity.process === vm.process) return there;
  await there[Symbol.asyncDispose]();
  throw ferryError('VM_REPLACED', { vm: name, address });
}
