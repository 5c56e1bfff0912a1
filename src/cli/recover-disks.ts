import type { Journal, Migration as JournalRow } from '../journal/index.ts';
import { type OfflineDeps, type Outcome, recoverOffline } from '../migration/index.ts';
import { loadLibvirt } from '../vm/index.ts';
import type { Cli } from './cli.ts';

/**
 * The VM has ended, or died: its disks are brought to where it can be started from, and the definition that a libvirt keeps of
 * it names them.
 * @throws what `recoverOffline` and `redirectDefinition` throw
 */
export async function recoverDisks(
  { renderer }: Cli,
  journal: Journal,
  { id, vm }: Pick<JournalRow, 'id' | 'vm'>,
): Promise<Outcome> {
  const manager = isLibvirtUri(vm.address) && { manager: managerOf(vm.address, vm.uuid) };
  const onEvent = renderer.event.bind(renderer);
  return await recoverOffline(id, { journal, onEvent, ...manager });
}

/** The libvirt that manages a VM; its code is loaded when it is called for. */
export function managerOf(uri: string, uuid: string): OfflineDeps['manager'] & object {
  return {
    untilEnded: async (process) => await (await loadLibvirt()).untilEnded(uri, uuid, process),
    async redefine(images) {
      await (await loadLibvirt()).redirectDefinition(uri, uuid, images);
    },
  };
}

/** The journal has the path of a monitor, or `HOST:PORT`; of a VM of libvirt it has the URI. */
export function isLibvirtUri(address: string): boolean {
  return /^[a-z][a-z0-9+]*:\/\//.test(address);
}
