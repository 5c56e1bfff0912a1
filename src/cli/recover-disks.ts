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
  const redefine: OfflineDeps['redefine'] = async (images) => {
    const { redirectDefinition } = await loadLibvirt();
    await redirectDefinition(vm.address, vm.uuid, images);
  };
  const onEvent = renderer.event.bind(renderer);
  return await recoverOffline(id, { journal, onEvent, ...(isLibvirtUri(vm.address) && { redefine }) });
}

/** The journal has the path of a monitor, or `HOST:PORT`; of a VM of libvirt it has the URI. */
export function isLibvirtUri(address: string): boolean {
  return /^[a-z][a-z0-9+]*:\/\//.test(address);
}
