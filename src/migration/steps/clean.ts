import type { Run } from '../run.ts';
import { handOver, letGoOfSource, linkTemporaries } from '../source-files.ts';
import { requireAnswers } from '../storage-answers.ts';
import type { Step } from './step.ts';

/** The source is let go: its nodes are closed, its files removed or put aside as asked. */
export const clean: Step = {
  name: 'clean',

  look: () => Promise.resolve('open'),

  intend({ plan, ledger }) {
    for (const path of linkTemporaries(plan)) ledger.plan('file', path, 'link');
  },

  async act(run) {
    // People move away from a storage that is dying: the guest does not need it any more, and must not wait for it either.
    await requireAnswers(run, 'source');
    await closeSource(run);
    const open = await run.vm.openFiles();
    const why = "the VM's QEMU still has it open";
    const spared = new Map(open?.map(({ dev, ino }) => [`${dev}:${ino}`, why] as const));
    await letGoOfSource(run.host, run.plan, spared, (message) => run.emit({ type: 'warning', message }));
  },

  /** The VM's new images and the nodes that it runs on are its own now. */
  async confirm({ plan, host, ledger }) {
    await handOver(host, plan, ledger);
    for (const kind of ['node', 'job'] as const) ledger.gone(kind, ...ledger.live(kind));
  },

  // After the commit record nothing is undone.
  undo: () => Promise.resolve(),
};

/** Overlay first, then the chain below it from the top: QEMU refuses to close a node that another stands on. */
async function closeSource({ plan, vm, ledger }: Run): Promise<void> {
  const overlays = plan.disks.map(({ nodes }) => nodes.source);
  await vm.closeNodes(overlays);
  ledger.gone('node', ...overlays);
  // A base that a disk which stays stands on as well is not ours to close.
  await vm.closeUnusedNodes(plan.disks.flatMap(({ oldNodes }) => oldNodes));
}
