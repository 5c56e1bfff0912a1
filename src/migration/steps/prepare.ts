import { ferryError } from '../../base/index.ts';
import { relativeBackingName } from '../../image/index.ts';
import type { Run } from '../run.ts';
import { targetBacking } from '../plan/target-backing.ts';
import { requireAnswers, untilAnswering } from '../storage-answers.ts';
import { begunJobs } from '../swap/job-group.ts';
import { isAnyNodeOpen, removeFromTarget } from '../target-files.ts';
import type { Step } from './step.ts';
import { refuseUnrecorded } from './unrecorded-snapshot.ts';

/**
 * The overlay beside each active image, and its twin on the target: empty, and of the disk's size to the byte. Those that
 * the user of a mirrored snapshot has prepared are neither made nor removed, so they are not in the ledger.
 */
export const prepare: Step = {
  name: 'prepare',

  look: () => Promise.resolve('open'),

  intend({ plan, ledger }) {
    const made = new Set(ledger.live('file'));
    for (const { path } of plan.placeholders ?? []) if (!made.has(path)) ledger.plan('file', path, 'placeholder');
    if (isPrepared(plan)) return;
    for (const disk of plan.disks) {
      ledger.plan('file', disk.sourceOverlay, 'source-overlay', disk.id);
      ledger.plan('file', disk.targetOverlay, 'target-overlay', disk.id);
    }
  },

  async act(run) {
    const { plan, host, ledger } = run;
    await untilAnswering(run, 'target');
    await makePlaceholders(run);
    if (isPrepared(plan)) return;
    // What an interrupted attempt left has our name and no contents yet. The ledger has to forget which files those were:
    // the ones that are made now would be taken for somebody else's.
    await refuseIfOpen(run);
    for (const { sourceOverlay, targetOverlay } of plan.disks) {
      for (const path of [sourceOverlay, targetOverlay]) {
        await host.removeFile(path);
        ledger.gone('file', path);
      }
    }
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
    // QEMU itself asks the storages of its nodes when it is asked for them.
    if (isAnyNodeOpen(run)) await requireAnswers(run, 'target');
    await refuseIfOpen(run);
    if (!isPrepared(run.plan)) await removeOverlays(run);
    await removePlaceholders(run);
  },
};

/** The size of an empty image, with room to spare. What is larger was put there by somebody else. In bytes. */
const PLACEHOLDER_BYTES = 2 ** 20;

/** Whether what stands at the name of a placeholder is still as it was made; what an interrupted attempt left is no mark. */
async function isStillEmpty({ host, ledger }: Run, path: string): Promise<boolean> {
  if ((await host.fileMark(path)) === undefined) return false;
  if (ledger.isMade('file', path)) return !(await ledger.isAnothers(path));
  return Number((await host.stampOf(path)).size) <= PLACEHOLDER_BYTES;
}

async function makePlaceholders(run: Run): Promise<void> {
  const { plan, host, ledger } = run;
  for (const { path, size, owner, backing } of plan.placeholders ?? []) {
    if (ledger.isMade('file', path)) continue;
    if (await isStillEmpty(run, path)) await host.removeFile(path);
    await host.createOverlay({ path, virtualSize: size, owner, ...(backing && { backing }) });
    await ledger.madePlaceholders(path);
  }
}

/** Where the user has copied something already, it is theirs. */
async function removePlaceholders(run: Run): Promise<void> {
  const { plan, host, ledger } = run;
  const live = new Set(ledger.live('file'));
  for (const { path } of plan.placeholders ?? []) {
    if (!live.has(path)) continue;
    if (await isStillEmpty(run, path)) await host.removeFile(path);
    ledger.gone('file', path);
  }
}

function isPrepared({ request }: Run['plan']): boolean {
  return request.snapshot?.prepared === true;
}

/** Where the target does not answer, its files stay in the ledger. */
async function removeOverlays(run: Run): Promise<void> {
  const { plan, host, ledger } = run;
  // The source's first: a target that cannot be written any more ends this with an error.
  for (const { sourceOverlay } of plan.disks) {
    await host.removeFile(sourceOverlay);
    ledger.gone('file', sourceOverlay);
  }
  await removeFromTarget(
    run,
    plan.disks.map(({ targetOverlay }) => targetOverlay),
  );
}

/** An overlay that the VM has open holds data, whatever the journal says. */
async function refuseIfOpen(run: Run): Promise<void> {
  const { plan, vm } = run;
  // A merge of theirs that was broken off, and whose disks could not be put on them again: they are still to be.
  const merging = plan.suspendedSwap
    ? begunJobs(
        run,
        plan.disks.map(({ jobs }) => jobs.foldBack),
      )
    : [];
  const [unmerged] = plan.disks.filter(({ jobs }) => merging.includes(jobs.foldBack));
  if (unmerged !== undefined) throw ferryError('IMAGE_IN_USE', { path: unmerged.sourceOverlay });
  const open = await vm.existingNodes(plan.disks.flatMap(({ nodes }) => [nodes.source, nodes.mirror]));
  if (open.length > 0) {
    const disk = plan.disks.find(({ nodes }) => open.includes(nodes.source) || open.includes(nodes.mirror));
    throw ferryError('IMAGE_IN_USE', {
      path: (open.includes(disk?.nodes.source ?? '') ? disk?.sourceOverlay : disk?.targetOverlay) ?? '',
    });
  }
  await refuseUnrecorded(run);
}
