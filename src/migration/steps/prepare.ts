import { ferryError } from '../../base/index.ts';
import { relativeBackingName } from '../../image/index.ts';
import type { PlannedDisk } from '../plan/plan.ts';
import type { Run } from '../run.ts';
import { targetBacking } from '../plan/target-backing.ts';
import type { Step } from './step.ts';

/**
 * The overlay beside each active image, and its twin on the target: empty, and of the disk's size to the byte. Those that
 * the user of a mirrored snapshot has prepared are neither made nor removed, so they are not in the ledger.
 */
export const prepare: Step = {
  name: 'prepare',

  look: () => Promise.resolve('open'),

  intend({ plan, ledger }) {
    if (isPrepared(plan)) return;
    for (const disk of plan.disks) {
      ledger.plan('file', disk.sourceOverlay, 'source-overlay', disk.id);
      ledger.plan('file', disk.targetOverlay, 'target-overlay', disk.id);
    }
  },

  async act(run) {
    const { plan, host, ledger } = run;
    if (isPrepared(plan)) return;
    // What an interrupted attempt left has our name and no contents yet. The ledger has to forget which files those were:
    // the ones that are made now would be taken for somebody else's.
    await removeOverlays(run);
    prepare.intend(run);
    for (const disk of plan.disks) {
      const common = { virtualSize: disk.size, owner: disk.owner };
      const { format } = disk.active;
      await host.createOverlay({
        path: disk.sourceOverlay,
        backing: { name: relativeBackingName(disk.sourceOverlay, disk.active.realPath), format },
        ...common,
      });
      await host.createOverlay({
        path: disk.targetOverlay,
        backing: { name: targetBacking(plan.request, disk.targetOverlay, disk.target), format },
        ...common,
      });
      await ledger.madeFiles(disk.sourceOverlay, disk.targetOverlay);
    }
  },

  confirm: () => Promise.resolve(),

  async undo(run) {
    if (isPrepared(run.plan)) return;
    await removeOverlays(run);
  },
};

function isPrepared({ request }: Run['plan']): boolean {
  return request.snapshot?.prepared === true;
}

async function removeOverlays({ plan, vm, host, ledger }: Run): Promise<void> {
  for (const disk of plan.disks) {
    await refuseIfOpen(vm, disk);
    for (const path of [disk.sourceOverlay, disk.targetOverlay]) {
      await host.removeFile(path);
      ledger.gone('file', path);
    }
  }
}

/** An overlay that the VM has open holds data, whatever the journal says. */
async function refuseIfOpen(vm: Run['vm'], disk: PlannedDisk): Promise<void> {
  const open = await vm.existingNodes([disk.nodes.source, disk.nodes.mirror]);
  if (open.length > 0) {
    throw ferryError('IMAGE_IN_USE', {
      path: open.includes(disk.nodes.source) ? disk.sourceOverlay : disk.targetOverlay,
    });
  }
}
