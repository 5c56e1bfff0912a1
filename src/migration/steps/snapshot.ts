import { ferryError } from '../../base/index.ts';
import type { FoldJob } from '../../vm/index.ts';
import { foldGroup } from '../swap/fold-group.ts';
import { noteFreeze, thawGuest } from '../swap/guest-freeze.ts';
import type { PlannedDisk } from '../plan/plan.ts';
import type { Run } from '../run.ts';
import { stampImages } from '../recovery/snapshot-stamp.ts';
import type { Step } from './step.ts';
import { refuseUnrecorded } from './unrecorded-snapshot.ts';

/** All overlays become active at one instant; the chain below them is immutable from then on. */
export const snapshot: Step = {
  name: 'snapshot',

  async look({ plan, vm }) {
    // One transaction: either all disks have it or none has.
    const [first] = plan.disks;
    return first !== undefined && (await vm.hasBacking(first.nodes.source)) ? 'done' : 'open';
  },

  intend({ plan, ledger }) {
    for (const { id, nodes } of plan.disks) ledger.plan('node', nodes.source, 'source-overlay', id);
  },

  async act(run) {
    const { plan, vm, host, ledger } = run;
    await vm.closeNodes(plan.disks.map(({ nodes }) => nodes.source));
    await refuseUnrecorded(run);
    // Dirty pages of the host made the transaction stall up to 425 ms with 8 disks, 7 ms after a sync: QEMU flushes
    // the images when it makes them read-only, while the guest waits.
    await Promise.all(plan.disks.map(({ active }) => host.syncFile(active.realPath)));
    const overlays = plan.disks.map((disk) => overlayOf(disk));
    try {
      await (plan.request.snapshot?.quiesce ? vm.snapshot(overlays, noteFreeze(run)) : vm.snapshot(overlays));
    } finally {
      await thawGuest(run);
    }
    ledger.made('node', ...plan.disks.map(({ nodes }) => nodes.source));
  },

  async confirm(run) {
    await thawGuest(run);
    for (const { id, nodes } of run.plan.disks) {
      if ((await run.vm.activeNode(id)) !== nodes.source)
        throw ferryError('STEP_NOT_CONFIRMED', {
          step: 'snapshot',
          disk: id,
          what: `${nodes.source} is not its active node`,
        });
    }
    return { stamps: await stampImages(run.host, run.plan) };
  },

  /** The guest's writes since the snapshot are merged back, and the chain is as it was. */
  async undo(run) {
    const { plan, vm, ledger } = run;
    await thawGuest(run);
    const folds = plan.disks.map(({ id, jobs, nodes, active }): FoldJob => {
      return { disk: id, job: jobs.foldBack, overlay: nodes.source, base: active.node };
    });
    // A mirror that waits for a target which does not answer is still on the overlay, and QEMU would not fold that.
    const mirrors = await vm.dismiss(plan.disks.map(({ jobs }) => jobs.mirror));
    const [first] = plan.disks;
    if (first && mirrors.length > 0) throw ferryError('STORAGE_HANGS', { path: first.targetOverlay, id: plan.id });
    await foldGroup(run, 'fold-back', folds);
    const nodes = plan.disks.map((disk) => disk.nodes.source);
    await vm.closeNodes(nodes);
    await refuseUnrecorded(run);
    ledger.gone('node', ...nodes);
  },
};

function overlayOf({
  id,
  nodes,
  sourceOverlay,
  active,
  settings,
}: PlannedDisk): Parameters<Run['vm']['snapshot']>[0][0] {
  return { disk: id, node: nodes.source, path: sourceOverlay, base: active.node, settings };
}
