import { ferryError } from '../../base/index.ts';
import type { PlannedDisk } from '../plan/plan.ts';
import { changedImages, stampsOf } from '../recovery/snapshot-stamp.ts';
import type { Run } from '../run.ts';

/**
 * Looks whether every disk of the VM is still what the snapshot made of it. Whoever else may change a VM's disks (a person at
 * another monitor, a backup program that puts a filter above one, an unplugged device) does not ask us; and a swap that QEMU
 * refuses for one disk of the group when its record is written already would leave that disk behind.
 * @param side what the snapshot made of it, or what a swap of a suspended VM has just made of it
 * @throws FerryError DISK_CHANGED
 */
export async function checkDisks(
  { plan, vm }: Pick<Run, 'plan' | 'vm'>,
  side: 'source' | 'mirror' = 'source',
): Promise<void> {
  const active = await Promise.all(plan.disks.map(({ id }) => vm.activeNode(id)));
  for (const [index, { id, nodes }] of plan.disks.entries()) {
    const node = active[index];
    if (node === nodes[side]) continue;
    const what =
      node === undefined
        ? 'it was unplugged from the VM'
        : `somebody else has changed the VM's disks: it runs on the node ${node} now`;
    throw ferryError('DISK_CHANGED', { disk: id, what });
  }
}

/**
 * Looks whether the images that the swap rests on are still there, and still they: nobody has written to what was copied,
 * and the names on the target lead to the files that were made. QEMU would go on with a file that has lost its name, and
 * its data would be gone with the VM's end.
 * @throws FerryError SOURCE_CHANGED, TARGET_CHANGED
 */
export async function checkFiles({ plan, host, journal, ledger }: Run): Promise<void> {
  const [changed] = await changedImages(host, stampsOf(journal, plan.id));
  if (changed !== undefined) throw ferryError('SOURCE_CHANGED', { path: changed });
  const chain = plan.copiedByUser ?? plan.copies.map(({ target }) => target);
  const targets = [...chain, ...plan.disks.map((disk) => disk.targetOverlay)];
  for (const path of targets) {
    const gone = (await host.fileMark(path)) === undefined;
    if (!gone && !(await ledger.isAnothers(path))) continue;
    const what = gone ? 'is gone' : 'is another file than the one that was made';
    throw ferryError('TARGET_CHANGED', { path, what });
  }
}

/** A disk whose device was unplugged after its swap, in words; what its image holds is not in question. */
export function unpluggedText({ id }: PlannedDisk, image: string): string {
  return `disk ${id} was unplugged from the VM meanwhile; its image, with every acknowledged write, is ${image}`;
}
