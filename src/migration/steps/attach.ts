import { ferryError } from '../../base/index.ts';
import { checkChain } from '../../image/index.ts';
import type { TargetChain } from '../../vm/index.ts';
import type { Host } from '../host.ts';
import type { MigrationPlan, PlannedCopy, PlannedDisk } from '../plan/plan.ts';
import { isServed } from '../mirror-server.ts';
import type { Run } from '../run.ts';
import { requireAnswers, untilAnswering } from '../storage-answers.ts';
import { dropMirrors, mirrorOf } from './mirror.ts';
import type { Step } from './step.ts';

/**
 * Opens the copied chain in the VM, ready for the mirror to be put on it. That itself happens in the swap, while the
 * guest's I/O is held (`../swap/pivot.ts` says why).
 */
export const attach: Step = {
  name: 'attach',

  look: () => Promise.resolve('open'),

  intend(run) {
    const { plan, ledger } = run;
    for (const { id, nodes } of plan.disks) {
      ledger.plan('node', nodes.base, 'target-chain', id);
      if (isServed(run)) ledger.plan('node', nodes.mirrorFile, 'target-overlay-file', id);
    }
  },

  async act(run) {
    const { plan, vm, ledger, host } = run;
    await untilAnswering(run, 'target');
    for (const copy of plan.copies) await nameBacking(host, copy);
    for (const disk of plan.disks) await checkTarget(host, plan, disk);
    await untilAnswering(run, 'target');
    const nodes = openedNodes(run);
    await vm.closeNodes(nodes);
    await vm.openChains(plan.disks.map((disk) => chainOf(run, disk)));
    ledger.made('node', ...nodes);
  },

  confirm: () => Promise.resolve(),

  async undo(run) {
    const { plan, vm, ledger } = run;
    await dropMirrors(run);
    const nodes = openedNodes(run);
    if (nodes.length > 0) await requireAnswers(run, 'target');
    await vm.closeNodes(nodes);
    // libvirt opens a chain to its end, and names its nodes by their files here.
    if (plan.suspendedSwap) await vm.closeUnusedNodes(plan.copies.map(({ target }) => target));
    ledger.gone('node', ...nodes);
  },
};

/** The nodes of this step, by the ledger: each disk's chain, and, where its mirror is served, the mirror's file. */
function openedNodes({ plan, ledger }: Run): readonly string[] {
  const live = new Set(ledger.live('node'));
  return plan.disks.flatMap(({ nodes }) => [nodes.base, nodes.mirrorFile]).filter((node) => live.has(node));
}

export function chainOf({ ledger }: Pick<Run, 'ledger'>, disk: PlannedDisk): TargetChain {
  const { nodes, target, active } = disk;
  const openFile = ledger.live('node').includes(nodes.mirrorFile);
  return { mirror: mirrorOf(disk), openFile, node: nodes.base, path: target, format: active.format };
}

/** A copy is its source byte for byte, so its header may name a backing image on the source: it gets the target's. */
async function nameBacking(host: Host, { target, format, backing }: PlannedCopy): Promise<void> {
  if (format !== 'qcow2' || backing === undefined) return;
  const { backing: written } = await host.probeImage(target, { format });
  if (written?.written !== backing.name || written.format !== backing.format)
    await host.rewriteBacking(target, backing);
}

/** The chain on the target, as its own headers name it, is the one that was copied; no name leads out of it. */
async function checkTarget(host: Host, { copies, copiedByUser = [] }: MigrationPlan, disk: PlannedDisk): Promise<void> {
  const { id, target, targetOverlay, size, depth, active } = disk;
  const within = [...copies.map((copy) => copy.target), ...copiedByUser];
  const chain = await host.probeChain(target, { format: active.format, within });
  checkChain(chain);
  const [top] = chain;
  const wrong =
    chain.length !== depth + 1
      ? `the chain of ${target} has ${chain.length} images instead of ${depth + 1}`
      : top?.virtualSize !== size
        ? `${target} has a size of ${top?.virtualSize} bytes instead of ${size}`
        : undefined;
  if (wrong !== undefined)
    throw ferryError('STEP_NOT_CONFIRMED', { step: 'attach', disk: id, what: `${wrong} (below ${targetOverlay})` });
}
