import { ferryError, isFerryError } from '../../base/index.ts';
import { dirname } from 'node:path';
import { cutMirrorServer, endMirrorServer } from '../mirror-server.ts';
import { commitRecord, removeMark } from '../swap/commit-record.ts';
import { finishGroup, jobGroup, maxHoldOf } from '../swap/job-group.ts';
import { letGuestGo, tryLetGuestGo } from '../swap/guest-brake.ts';
import { checkDisks, checkFiles, unpluggedText } from '../swap/group-health.ts';
import { checkMirrors } from '../swap/mirror-health.ts';
import { type Group, pivot as swap } from '../swap/pivot.ts';
import type { Run } from '../run.ts';
import { untilMirrorsReady } from '../swap/until-mirrors-ready.ts';
import { requireAnswers, untilAnswering } from '../storage-answers.ts';
import { chainOf } from './attach.ts';
import { dropMirrors } from './mirror.ts';
import type { Step } from './step.ts';

/** The whole group goes over, as the two phases of `../swap/pivot.ts`. */
export const pivot: Step = {
  name: 'pivot',

  look: () => Promise.resolve('open'),

  intend: () => undefined,

  async act(run) {
    try {
      await swapMirrors(run);
    } catch (error) {
      await tryLetGuestGo(run);
      throw error;
    }
    await letGuestGo(run);
  },

  async confirm(run) {
    const { plan, vm } = run;
    for (const disk of plan.disks) {
      const { id, nodes } = disk;
      const active = await vm.activeNode(id);
      if (active === undefined) {
        run.emit({ type: 'warning', message: unpluggedText(disk, disk.targetOverlay) });
      } else if (active !== nodes.mirror) {
        throw ferryError('STEP_NOT_CONFIRMED', {
          step: 'pivot',
          disk: id,
          what: `its active node is ${active}, not ${nodes.mirror}`,
        });
      }
    }
  },

  /** Only ever before the record: jobs that are held let go, and the guest goes on at the source. */
  async undo(run) {
    await dropMirrors(run);
    await removeMark(run, 'pivot');
  },
};

async function swapMirrors(run: Run): Promise<void> {
  const { plan, journal, ledger } = run;
  const jobs = plan.disks.map((disk) => disk.jobs.mirror);
  if (journal.commitRecord(plan.id, 'pivot') !== undefined) {
    // Somebody died between the record and the last finalize: forward, whatever is left of it.
    await finishGroup(run, jobs);
  } else {
    const ms = await swapWhenAnswering(run);
    run.emit({ type: 'held', kind: 'pivot', ms, disks: plan.disks.length });
  }
  await removeMark(run, 'pivot');
  ledger.gone('job', ...jobs);
  // The mirrors are on their own files now.
  await endMirrorServer(run);
}

/** A target that is found to hang before anything is held is waited for. */
async function swapWhenAnswering(run: Run): Promise<number> {
  for (;;) {
    await untilAnswering(run, 'target');
    await untilMirrorsReady(run);
    await removeMark(run, 'pivot');
    try {
      return await swap(mirrorGroup(run), commitRecord(run, 'pivot'), run.clock);
    } catch (error) {
      if (!isFerryError(error, 'STORAGE_HANGS')) throw error;
    }
  }
}

/** @throws FerryError HOLD_FAILED when QEMU does not answer in time, because it waits for a storage */
async function unlessLate(run: Run, ms: number, work: Promise<void>): Promise<void> {
  const over = new AbortController();
  const late = run.clock.sleep(ms, over.signal).then(
    () => true,
    () => false,
  );
  const isLate = await Promise.race([work.then(() => false), late]).finally(() => over.abort());
  if (isLate) {
    const reason = `QEMU did not put it on the target's chain within ${maxHoldOf(run.plan)} ms of the hold`;
    throw ferryError('HOLD_FAILED', { jobs: run.plan.disks.map(({ jobs }) => jobs.mirror).join(', '), reason });
  }
}

function mirrorGroup(run: Run): Group {
  const { plan, vm, host } = run;
  const jobs = plan.disks.map((disk) => disk.jobs.mirror);
  const group = jobGroup(run, jobs, 'target');
  let began = 0;
  return {
    ...group,
    // A guest that has written more meanwhile is not held up for it: it waits for the little longer that takes.
    async check() {
      await checkDisks(run);
      await checkFiles(run);
      await checkMirrors(run);
    },
    async flush() {
      await requireAnswers(run, 'target');
      const targets = plan.disks.map(({ targetOverlay }) => targetOverlay);
      await Promise.all(targets.map((path) => host.syncFile(path)));
      await Promise.all([...new Set(targets.map((path) => dirname(path)))].map((folder) => host.syncFolder(folder)));
    },
    async hold() {
      began = run.clock.monotonic();
      await group.hold();
    },
    async attach() {
      const left = maxHoldOf(plan) - (run.clock.monotonic() - began);
      await unlessLate(run, left, vm.attach(plan.disks.map((disk) => chainOf(run, disk))));
      // The last look before the record: what was changed since the first would make QEMU refuse to finalize.
      await checkDisks(run, plan.suspendedSwap ? 'mirror' : 'source');
    },
    async cancel() {
      await cutMirrorServer(run);
      await group.cancel();
    },
  };
}
