import { Journal, type SnapshotOwner, stateDirectory } from '../../journal/index.ts';
import type { MigrationEvent } from '../../migration/index.ts';
import { describedDomain, type KeeperDeps } from '../../snapshots/index.ts';
import { type LibvirtVm, loadLibvirt, processExists } from '../../vm/index.ts';
import type { Cli } from '../cli.ts';
import { openJournal } from '../open-journal.ts';
import { managerOf } from '../recover-disks.ts';

/** What keeps the mirrored snapshot of a VM of libvirt. @param uri the libvirt that manages it */
export function libvirtKeeper(
  cli: Cli,
  owner: SnapshotOwner,
  uri: string,
  onEvent: (event: MigrationEvent) => void,
): KeeperDeps {
  const { clock, options } = cli;
  const connect = async (): Promise<LibvirtVm> => {
    const { LibvirtVm: Vm } = await loadLibvirt();
    return await Vm.connect(uri, owner.uuid, { clock });
  };
  return {
    owner,
    clock,
    onEvent,
    openJournal: (use) => (use === 'look' ? openJournal(cli) : Journal.open(stateDirectory(options.stateDir))),
    vm: {
      connect,
      processExists,
      describe: async (inventory) => {
        await using vm = await connect();
        return describedDomain(await vm.xml(), inventory);
      },
      mirrorChains: async () => {
        await using vm = await connect();
        return await vm.mirrorChains();
      },
      manager: managerOf(uri, owner.uuid),
    },
  };
}
