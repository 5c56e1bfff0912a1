import { ferryError, isFerryError } from '../../base/index.ts';
import { Journal, type SnapshotIntent, type SnapshotOwner, stateDirectory } from '../../journal/index.ts';
import type { MigrationEvent } from '../../migration/index.ts';
import { formatQmpAddress, type QmpAddress } from '../../qmp/index.ts';
import {
  DiskKeeper,
  type KeeperDeps,
  KeptDomain,
  type Settlement,
  type SnapshotDomain,
  type SnapshotHost,
} from '../../snapshots/index.ts';
import { type DiscoveredVm, discoverQemu, processExists, QemuVm } from '../../vm/index.ts';
import type { Cli } from '../cli.ts';
import { chooseMonitor, chooseVm } from '../find-vm.ts';
import { openJournal } from '../open-journal.ts';
import { parseQmpAddress } from '../qmp-address.ts';
import { isLibvirtUri } from '../recover-disks.ts';

/** A monitor that answers does so in milliseconds; one that somebody holds never does. */
const GREET_WITHIN_MS = 5000;

/** The VMs of this host that are driven over QMP, and those that the journal knows snapshots of. */
export class QemuSnapshotHost implements SnapshotHost {
  readonly #cli: Cli;
  readonly #qmp: string | undefined;
  readonly #onEvent: (event: MigrationEvent) => void;

  /** @param qmp the socket of the VM that every name means */
  constructor(cli: Cli, qmp: string | undefined, onEvent: (event: MigrationEvent) => void) {
    this.#cli = cli;
    this.#qmp = qmp;
    this.#onEvent = onEvent;
  }

  /** @throws FerryError AMBIGUOUS_VM, and what `QemuVm.connect` throws */
  async domain(wanted: string): Promise<SnapshotDomain | undefined> {
    if (this.#qmp !== undefined) {
      const address = parseQmpAddress(this.#qmp, this.#cli.surroundings.cwd);
      await using vm = await this.#connect(address);
      const { name, uuid } = vm.identity;
      return [name, uuid].includes(wanted) ? this.#keep({ name, uuid }, address) : undefined;
    }
    const found = running(wanted, await discoverQemu());
    if (found?.managedBy === 'libvirt') throw ferryError('VM_OF_LIBVIRT', { vm: wanted, pid: found.pid });
    if (found !== undefined) {
      const address = chooseMonitor(found);
      return this.#keep({ name: found.name ?? formatQmpAddress(address), uuid: found.uuid ?? '' }, address);
    }
    const known = this.#known(wanted);
    return known && this.#keep(known, undefined);
  }

  /** A VM that does not run, and that has snapshots, or an unfinished one, or an unfinished migration. libvirt's are asked for at libvirt. */
  #known(wanted: string): SnapshotOwner | undefined {
    using journal = openJournal(this.#cli);
    const unfinished = journal
      .migrations({ unfinished: true })
      .map(({ vm }) => vm)
      .filter(({ address }) => !isLibvirtUri(address));
    const beingTaken = journal.snapshotIntents().map(({ vm }) => vm);
    return [...journal.snapshotOwners(), ...unfinished, ...beingTaken].find(
      ({ name, uuid }) => name === wanted || (uuid !== '' && uuid === wanted.toLowerCase()),
    );
  }

  #keep(owner: SnapshotOwner, address: QmpAddress | undefined): SnapshotDomain {
    return new KeptDomain(this.#deps(owner, address));
  }

  #deps(owner: SnapshotOwner, address: QmpAddress | undefined): KeeperDeps {
    const { stateDir } = this.#cli.options;
    return {
      owner,
      clock: this.#cli.clock,
      onEvent: this.#onEvent,
      openJournal: (use) => (use === 'look' ? openJournal(this.#cli) : Journal.open(stateDirectory(stateDir))),
      vm: { processExists, connect: async () => address && (await this.#connect(address)) },
    };
  }

  /**
   * Finds out what became of a VM's snapshots whose taker died.
   * @param vm as it was when the snapshot was begun
   * @throws what `DiskKeeper.settle` throws
   */
  async settle({ name, uuid, process, address }: SnapshotIntent['vm']): Promise<readonly Settlement[]> {
    const there = (await discoverQemu()).filter(({ managedBy }) => managedBy !== 'libvirt');
    const found = running(uuid || name, there);
    const known = (await processExists(process)) ? parseQmpAddress(address, this.#cli.surroundings.cwd) : undefined;
    return await new DiskKeeper(this.#deps({ name, uuid }, found ? chooseMonitor(found) : known)).settle();
  }

  async #connect(address: QmpAddress): Promise<QemuVm> {
    return await QemuVm.connect(address, {
      clock: this.#cli.clock,
      signal: AbortSignal.timeout(GREET_WITHIN_MS),
    });
  }
}

/** The running VM of this name or UUID; undefined when there is none. */
function running(wanted: string, there: readonly DiscoveredVm[]): DiscoveredVm | undefined {
  try {
    return chooseVm(wanted, there);
  } catch (error) {
    if (isFerryError(error, 'NO_SUCH_VM')) return undefined;
    throw error;
  }
}
