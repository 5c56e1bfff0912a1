import { isFerryError } from '../../base/index.ts';
import type { MirrorNode } from '../../vm/index.ts';
import { cutMirrorServer, endMirrorServer, isServed, startMirrorServer } from '../mirror-server.ts';
import { cancelGroup, maxHoldOf } from '../swap/job-group.ts';
import { checkMirrors } from '../swap/mirror-health.ts';
import type { PlannedDisk } from '../plan/plan.ts';
import type { Run } from '../run.ts';
import { requireAnswers, untilAnswering } from '../storage-answers.ts';
import { isTargetOpen } from '../target-files.ts';
import { beforeStop, wakeVm } from '../swap/vm-stop.ts';
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
    const { plan, vm, host, ledger } = run;
    const missing = await untrusted(run);
    await cancelGroup(
      run,
      missing.map(({ jobs }) => jobs.mirror),
      'target',
    );
    await untilAnswering(run, 'target');
    await vm.closeNodes(missing.map(({ nodes }) => nodes.mirror));
    if (missing.length === plan.disks.length) await endMirrorServer(run);
    // Stopping the VM flushes its images: what is on storage already need not be waited for.
    await Promise.all(missing.map(({ sourceOverlay }) => host.syncFile(sourceOverlay)));
    await startMirrors(run, missing);
    ledger.made('node', ...missing.map(({ nodes }) => nodes.mirror));
    ledger.made('job', ...missing.map(({ jobs }) => jobs.mirror));
  },

  confirm: checkMirrors,

  undo: dropMirrors,
};

async function startMirrors(run: Run, disks: readonly PlannedDisk[]): Promise<void> {
  const { plan, vm } = run;
  const start = async (served?: Awaited<ReturnType<typeof startMirrorServer>>): Promise<void> => {
    const mirrors = disks.map((disk) => mirrorOf(disk, served?.get(disk.id)));
    try {
      await vm.startMirrors(mirrors, beforeStop(run), maxHoldOf(plan));
    } catch (error) {
      // What waits for the target has an error then, and the VM can be let go on.
      await cutMirrorServer(run);
      throw error;
    } finally {
      const ms = await wakeVm(run);
      if (ms !== undefined) run.emit({ type: 'held', kind: 'start', ms, disks: disks.length });
    }
  };
  if (plan.request.mirrorServer === false || !vm.takesServed) return await start();
  try {
    return await start(await startMirrorServer(run, disks));
  } catch (error) {
    // A VM that is confined may not reach the socket, and a QEMU may be built without NBD; it can do without, if less safely.
    if (!isFerryError(error, 'QMP_COMMAND') || !/connect|socket|nbd/i.test(error.message)) throw error;
    await vm.closeNodes(disks.map(({ nodes }) => nodes.mirror));
    await endMirrorServer(run);
    const message = `the VM cannot reach the mirror server, so a target that hangs at the swap would hold the guest: ${error.message}`;
    run.emit({ type: 'warning', message });
  }
  return await start();
}

/**
 * Disks whose mirror cannot be relied on. A job that exists and is not in the ledger as made was left by an attempt that
 * failed or died while it started: the VM may have been woken before the job saw every write.
 */
async function untrusted({ plan, vm, ledger }: Run): Promise<readonly PlannedDisk[]> {
  const there = new Set((await vm.jobs(plan.disks.map(({ jobs }) => jobs.mirror))).map(({ id }) => id));
  return plan.disks.filter(({ jobs }) => !there.has(jobs.mirror) || !ledger.isMade('job', jobs.mirror));
}

/**
 * Ends the mirroring: the guest goes on at the source, and the target's overlay is closed.
 * @throws FerryError STORAGE_HANGS when it cannot be closed without QEMU, and the guest, waiting for it
 */
export async function dropMirrors(run: Run): Promise<void> {
  const { plan, vm, ledger } = run;
  const jobs = plan.disks.map((disk) => disk.jobs.mirror);
  // Whatever state the target is in, its mirrors end now, and can be closed.
  await cutMirrorServer(run);
  await cancelGroup(run, jobs, 'target');
  ledger.gone('job', ...jobs);
  const nodes = plan.disks.map((disk) => disk.nodes.mirror);
  if (isTargetOpen(run) && !isServed(run)) await requireAnswers(run, 'target');
  await vm.closeNodes(nodes);
  ledger.gone('node', ...nodes);
  await endMirrorServer(run);
}

/** The mirror is opened on the source's immutable chain: on none at all it would silently fill clusters with zeroes. */
export function mirrorOf(
  { id, jobs, nodes, targetOverlay, active, settings }: PlannedDisk,
  served?: MirrorNode['served'],
): MirrorNode {
  return {
    disk: id,
    job: jobs.mirror,
    source: nodes.source,
    node: nodes.mirror,
    fileNode: nodes.mirrorFile,
    path: targetOverlay,
    base: active.node,
    settings,
    ...(served && { served }),
  };
}
