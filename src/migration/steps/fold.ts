import { ferryError } from '../../base/index.ts';
import type { FoldJob } from '../../vm/index.ts';
import { unpluggedText } from '../swap/group-health.ts';
import { foldGroup } from '../swap/fold-group.ts';
import type { Run } from '../run.ts';
import type { Step } from './step.ts';

/** On the target, the overlay is merged into the image below it: the chain is as deep as it was. */
export const fold: Step = {
  name: 'fold',

  look: () => Promise.resolve('open'),

  intend: () => undefined,

  async act(run) {
    const { plan, vm, ledger } = run;
    const folds = plan.disks.map(({ id, jobs, nodes }): FoldJob => {
      return { disk: id, job: jobs.fold, overlay: nodes.mirror, base: nodes.base };
    });
    await foldGroup(run, 'fold', folds);
    const mirrors = plan.disks.map((disk) => disk.nodes.mirror);
    await vm.closeNodes(mirrors);
    // Opened on their own: they do not go with the mirrors.
    const live = new Set(ledger.live('node'));
    const files = plan.disks.map((disk) => disk.nodes.mirrorFile).filter((node) => live.has(node));
    await vm.closeNodes(files);
    ledger.gone('node', ...mirrors, ...files);
  },

  /** Only when every disk runs on its folded image does the stale overlay go. */
  async confirm(run: Run) {
    const { plan, vm, host, ledger } = run;
    for (const disk of plan.disks) {
      const { id, nodes } = disk;
      const active = await vm.activeNode(id);
      if (active === undefined) {
        run.emit({ type: 'warning', message: unpluggedText(disk, disk.target) });
      } else if (active !== nodes.base) {
        throw ferryError('STEP_NOT_CONFIRMED', {
          step: 'fold',
          disk: id,
          what: `its active node is ${active}, not ${nodes.base}`,
        });
      }
    }
    for (const { targetOverlay } of plan.disks) {
      await host.removeFile(targetOverlay);
      ledger.gone('file', targetOverlay);
    }
  },

  // After the commit record nothing is undone.
  undo: () => Promise.resolve(),
};
