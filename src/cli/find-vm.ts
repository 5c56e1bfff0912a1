import { realpath } from 'node:fs/promises';
import { ferryError, isFerryError } from '../base/index.ts';
import type { MigrationPlan } from '../migration/index.ts';
import { formatQmpAddress, type QmpAddress } from '../qmp/index.ts';
import {
  type DiscoveredVm,
  discoverQemu,
  type LibvirtVm,
  loadLibvirt,
  processExists,
  QemuVm,
  type VirtualMachine,
} from '../vm/index.ts';
import type { Cli } from './cli.ts';
import { ownerOfMigration } from './migration-view.ts';
import { openJournal } from './open-journal.ts';
import { parseQmpAddress } from './qmp-address.ts';

/** How the command line names a VM. */
export interface VmChoice {
  /** Its name or UUID. */
  readonly vm?: string | undefined;
  /** `--qmp`. */
  readonly qmp?: string | undefined;
  /** `--connect`: the libvirt that manages it. */
  readonly connect?: string | undefined;
}

/**
 * Connects to the VM that the command line names.
 * @throws FerryError USAGE when it names none or two; NO_SUCH_VM, AMBIGUOUS_VM, VM_NO_MONITOR, VM_OF_LIBVIRT,
 *   VM_FORGOTTEN, MIGRATION_EXISTS, MIRRORED_SNAPSHOT; what `QemuVm.connect` and `LibvirtVm.connect` throw
 */
export async function connectVm(cli: Cli, choice: VmChoice): Promise<VirtualMachine> {
  await using rest = new AsyncDisposableStack();
  const chosen = await choose(cli, choice);
  if ('domain' in chosen) rest.use(chosen.domain);
  const first = await unfinishedOf(cli, chosen);
  if (first !== undefined)
    throw ferryError('MIGRATION_EXISTS', { vm: first.vm, id: first.id, driver: driverOf(first) });
  rest.move();
  return 'domain' in chosen ? chosen.domain : await QemuVm.connect(chosen.address, { clock: cli.clock });
}

/**
 * The unfinished migration of the VM that the command line names, where nobody drives it.
 * @throws as `connectVm`, but for MIGRATION_EXISTS
 */
export async function abandonedMigration(cli: Cli, choice: VmChoice): Promise<UnfinishedMigration | undefined> {
  const chosen = await choose(cli, choice);
  await using _ = 'domain' in chosen ? chosen.domain : undefined;
  const found = await unfinishedOf(cli, chosen);
  return found?.owner === 'none' ? found : undefined;
}

/** A migration that has to come to its end before its VM can have another. */
export interface UnfinishedMigration {
  readonly id: string;
  /** The VM's name. */
  readonly vm: string;
  /** Process id of who drives it; `none` when nobody does, `unknown` where this user may not ask. */
  readonly owner: number | 'none' | 'unknown';
}

/**
 * Looked for before it connects: whoever drives the first migration of a VM holds its monitor, and its jobs and overlays
 * would be refused for the wrong reason. And a VM that was started again since may run on old data. A mirrored snapshot is
 * its user's to end.
 */
async function unfinishedOf(cli: Cli, chosen: Chosen): Promise<UnfinishedMigration | undefined> {
  using journal = openJournal(cli);
  const { vm } = chosen;
  const shown = 'domain' in chosen ? chosen.domain.identity.address : formatQmpAddress(chosen.address);
  for (const { id, vm: known, plan } of journal.migrations({ unfinished: true })) {
    const same =
      (vm !== undefined && known.process.endsWith(`/${vm.pid}/${vm.startTime}`)) ||
      (vm?.uuid !== undefined && vm.uuid === known.uuid) ||
      ((vm?.name === known.name || known.address === shown) &&
        (vm === undefined || !(await processExists(known.process))));
    const { snapshot } = (plan as MigrationPlan).request;
    if (same && snapshot) throw ferryError('MIRRORED_SNAPSHOT', { vm: known.name, snapshot: snapshot.name, id });
    if (same) return { id, vm: known.name, owner: await ownerOfMigration(journal, id) };
  }
  return undefined;
}

function driverOf({ owner }: UnfinishedMigration): string {
  if (owner === 'none') return 'which nobody drives';
  return `which ${owner === 'unknown' ? 'somebody' : `process ${owner}`} drives`;
}

type Chosen =
  /** A monitor, and the process behind it where the kernel tells. */
  | { readonly address: QmpAddress; readonly vm?: DiscoveredVm }
  /** A VM of libvirt, connected to: several clients may be. */
  | { readonly domain: LibvirtVm; readonly vm?: DiscoveredVm };

/** The libvirt that is meant where none is named, as for virsh; root's own where nothing says another. */
export function libvirtUri(cli: Cli, connect: string | undefined): string {
  return connect ?? cli.surroundings.env['LIBVIRT_DEFAULT_URI'] ?? 'qemu:///system';
}

/** A VM that libvirt manages is driven through libvirt, any other one over its monitor. */
async function choose(cli: Cli, choice: VmChoice): Promise<Chosen> {
  const there = await discoverQemu();
  const { vm, qmp, connect } = choice;
  if (connect !== undefined && qmp !== undefined) {
    throw ferryError('USAGE', { what: 'give --connect or --qmp, not both' });
  }
  const named = vm === undefined || qmp !== undefined || connect !== undefined ? undefined : chooseVm(vm, there);
  if (vm === undefined || (connect === undefined && named?.managedBy !== 'libvirt')) {
    return await monitorOf(choice, there, cli.surroundings.cwd);
  }
  const domain = await connectDomain(cli, libvirtUri(cli, connect), named?.uuid ?? vm, there);
  const found = there.find(({ pid }) => pid === domain.identity.pid);
  return { domain, ...(found && { vm: found }) };
}

/** Where libvirt says that it is off, the processes of this host may say otherwise: libvirt 9.0 can lose a VM. */
async function connectDomain(cli: Cli, uri: string, vm: string, there: readonly DiscoveredVm[]): Promise<LibvirtVm> {
  const { LibvirtVm } = await loadLibvirt();
  try {
    return await LibvirtVm.connect(uri, vm, { clock: cli.clock });
  } catch (error) {
    if (!isFerryError(error, 'NO_SUCH_VM', 'VM_NOT_RUNNING')) throw error;
    const running = there.find(({ name, uuid, managedBy }) => managedBy === 'libvirt' && (name === vm || uuid === vm));
    if (running === undefined) throw error;
    throw ferryError('VM_FORGOTTEN', { vm: running.name ?? vm, uri, pid: running.pid }, { cause: error });
  }
}

async function monitorOf(
  { vm, qmp }: VmChoice,
  there: readonly DiscoveredVm[],
  cwd: string,
): Promise<{ readonly address: QmpAddress; readonly vm?: DiscoveredVm }> {
  if (vm !== undefined && qmp !== undefined) {
    throw ferryError('USAGE', { what: 'give the VM by its name or by --qmp, not both' });
  }
  if (qmp !== undefined) {
    const address = parseQmpAddress(qmp, cwd);
    const owner = await ownerOf(address, there);
    if (owner) refuseLibvirt(owner);
    return { address, ...(owner && { vm: owner }) };
  }
  if (vm === undefined) throw ferryError('USAGE', { what: 'name the VM, or give its QMP socket with --qmp' });
  const chosen = chooseVm(vm, there);
  return { address: chooseMonitor(chosen), vm: chosen };
}

/** The VM that has this socket, where the kernel says so. */
async function ownerOf(address: QmpAddress, there: readonly DiscoveredVm[]): Promise<DiscoveredVm | undefined> {
  const wanted = await canonical(address);
  for (const vm of there) {
    for (const socket of vm.qmp) if ((await canonical(socket)) === wanted) return vm;
  }
  return undefined;
}

async function canonical(address: QmpAddress): Promise<string> {
  return 'path' in address ? await realpath(address.path).catch(() => address.path) : formatQmpAddress(address);
}

/** The one VM of this name or UUID. */
export function chooseVm(wanted: string, there: readonly DiscoveredVm[]): DiscoveredVm {
  const found = there.filter(({ name, uuid }) => name === wanted || uuid === wanted.toLowerCase());
  const [vm] = found;
  if (vm === undefined) throw ferryError('NO_SUCH_VM', { vm: wanted, vms: list(there) });
  if (found.length > 1) throw ferryError('AMBIGUOUS_VM', { vm: wanted, vms: list(found) });
  return vm;
}

/** The monitor to connect to: one that nobody is connected to, if there is one. */
export function chooseMonitor(vm: DiscoveredVm): QmpAddress {
  refuseLibvirt(vm);
  const [first] = vm.qmp.toSorted((a, b) => Number(a.inUse ?? false) - Number(b.inUse ?? false));
  if (first) return 'path' in first ? { path: first.path } : { host: first.host, port: first.port };
  const reason = vm.whyNot ?? 'it was started without one';
  throw ferryError('VM_NO_MONITOR', { vm: vm.name ?? 'the VM', pid: vm.pid, reason });
}

function refuseLibvirt({ managedBy, name, pid }: DiscoveredVm): void {
  if (managedBy === 'libvirt') throw ferryError('VM_OF_LIBVIRT', { vm: name ?? 'the VM', pid });
}

function list(vms: readonly DiscoveredVm[]): string {
  const each = vms.map(({ name, uuid, pid, qmp }) => {
    const monitors = qmp.map(formatQmpAddress).join(', ') || 'no QMP socket';
    return `${name ?? 'a VM without a name'} (${[`pid ${pid}`, ...(uuid ? [uuid] : []), monitors].join(', ')})`;
  });
  return each.join('; ') || 'none';
}
