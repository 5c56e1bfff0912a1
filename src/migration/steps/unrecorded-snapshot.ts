import { ferryError } from '../../base/index.ts';
import type { Run } from '../run.ts';

/**
 * Looks whether QEMU has an overlay open in which, by all that is recorded, nothing can be. libvirtd that ends while it takes a
 * snapshot may have told QEMU of it, and believes that the disks are on their images when it is started again (9.0): the
 * guest's newest data is in the overlays then, and nothing on them may be touched.
 * @throws FerryError SNAPSHOT_UNRECORDED
 */
export async function refuseUnrecorded({ plan, vm, journal }: Run): Promise<void> {
  // They are merged, and are closed in their own time.
  if (journal.commitRecord(plan.id, 'fold-back') !== undefined) return;
  for (const { nodes, sourceOverlay } of plan.disks) {
    if (!(await vm.isOpen(nodes.source))) continue;
    throw ferryError('SNAPSHOT_UNRECORDED', { vm: vm.identity.name, path: sourceOverlay });
  }
}
