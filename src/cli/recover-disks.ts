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
  const redefine = isLibvirtUri(vm.address) && { redefine: redefining(vm.address, vm.uuid) };
  const onEvent = renderer.event.bind(renderer);
  return await recoverOffline(id, { journal, onEvent, ...redefine });
}

/** What brings the definition of a VM of libvirt up to date; libvirt's code is loaded when that is called for. */
export function redefining(uri: string, uuid: string): OfflineDeps['redefine'] & object {
  return async (images) => {
    const { redirectDefinition } = await loadLibvirt();
    await redirectDefinition(uri, uuid, images);
  };
}

/** The journal has the path of a monitor, or `HOST:PORT`; of a VM of libvirt it has the URI. */
export function isLibvirtUri(address: string): boolean {
  return /^[a-z][a-z0-9+]*:\/\//.test(address);
}
