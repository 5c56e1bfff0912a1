import type { MirrorNode } from '../../vm/index.ts';
import { cancelGroup } from '../swap/job-group.ts';
import { checkMirrors } from '../swap/mirror-health.ts';
import type { PlannedDisk } from '../plan/plan.ts';
import type { Run } from '../run.ts';
import { noteStop, wakeVm } from '../swap/vm-stop.ts';
import type { Step } from './step.ts';

/** Each write of the guest lands on both sides from here on. */
export const mirror: Step = {
  name: 'mirror',

  async look(run) {
    return (await untrusted(run)).length === 0 ? 'done' : 'open';
  },

  intend({ plan, ledger }) {
    for (const { id, nodes, jobs } of plan.disks) {
      ledger.plan('node', nodes.mirror, 'target-overlay', id);
      ledger.plan('job', jobs.mirror, 'mirror', id);
    }
  },

  async act(run) {
    const { vm, host, ledger } = run;
    const missing = await untrusted(run);
    await cancelGroup(
      run,
      missing.map(({ jobs }) => jobs.mirror),
    );
    await vm.closeNodes(missing.map(({ nodes }) => nodes.mirror));
    // Stopping the VM flushes its images: what is on storage already need not be waited for.
    await Promise.all(missing.map(({ sourceOverlay }) => host.syncFile(sourceOverlay)));
    try {
      await vm.startMirrors(missing.map(mirrorOf), noteStop(run));
    } finally {
      const ms = await wakeVm(run);
      if (ms !== undefined) run.emit({ type: 'held', kind: 'start', ms, disks: missing.length });
    }
    ledger.made('node', ...missing.map(({ nodes }) => nodes.mirror));
    ledger.made('job', ...missing.map(({ jobs }) => jobs.mirror));
  },

  confirm: checkMirrors,

  undo: dropMirrors,
};

/**
 * Disks whose mirror cannot be relied on. A job that exists and is not in the ledger as made was left by an attempt that
 * failed or died while it started: the VM may have been woken before the job saw every write.
 */
async function untrusted({ plan, vm, ledger }: Run): Promise<readonly PlannedDisk[]> {
  const there = new Set((await vm.jobs(plan.disks.map(({ jobs }) => jobs.mirror))).map(({ id }) => id));
  return plan.disks.filter(({ jobs }) => !there.has(jobs.mirror) || !ledger.isMade('job', jobs.mirror));
}

/** Ends the mirroring: the guest goes on at the source, and the target's overlay is closed. */
export async function dropMirrors(run: Run): Promise<void> {
  const { plan, vm, ledger } = run;
  const jobs = plan.disks.map((disk) => disk.jobs.mirror);
  await cancelGroup(run, jobs);
  ledger.gone('job', ...jobs);
  const nodes = plan.disks.map((disk) => disk.nodes.mirror);
  await vm.closeNodes(nodes);
  ledger.gone('node', ...nodes);
}

/** The mirror is opened on the source's immutable chain: on none at all it would silently fill clusters with zeroes. */
export function mirrorOf({ id, jobs, nodes, targetOverlay, active, settings }: PlannedDisk): MirrorNode {
  return {
    disk: id,
    job: jobs.mirror,
    source: nodes.source,
    node: nodes.mirror,
    fileNode: nodes.mirrorFile,
    path: targetOverlay,
    base: active.node,
    settings,
  };
}
