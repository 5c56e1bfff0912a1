import type { Journal } from '../../journal/index.ts';
import type { PlannedDisk } from '../../migration/index.ts';
import type { VirtualMachine } from '../../vm/index.ts';
import type { MirrorState } from '../snapshot-driver.ts';
import type { Standing } from './kept-list.ts';

/** Job states in which a mirror goes on. */
const ALIVE: ReadonlySet<string> = new Set(['created', 'running', 'paused', 'ready', 'standby', 'waiting', 'pending']);

/** How the mirror of each disk stands: `undefined` while it is copying; `moved` where somebody else has pivoted to it. */
export type DiskMirrors = ReadonlyMap<string, 'yes' | 'pivot' | 'broken' | 'moved' | undefined>;

/**
 * Asks the VM how the mirrors of a snapshot stand, by disk.
 * @param vm undefined where it cannot be asked: then nothing is said of them
 */
export async function diskMirrors(
  { plan, row }: Standing,
  journal: Journal,
  vm: VirtualMachine | undefined,
): Promise<DiskMirrors> {
  if (journal.commitRecord(row.id, 'pivot') !== undefined) return new Map(plan.disks.map(({ id }) => [id, 'pivot']));
  if (vm === undefined) return new Map();
  const jobs = new Map((await vm.jobs(plan.disks.map((disk) => disk.jobs.mirror))).map((job) => [job.id, job]));
  const states = plan.disks.map(async (disk) => {
    const job = jobs.get(disk.jobs.mirror);
    const whole = job !== undefined && ALIVE.has(job.status) && (job.ioStatus ?? 'ok') === 'ok';
    if (whole) return [disk.id, job.status === 'ready' ? 'yes' : undefined] as const;
    return [disk.id, (await vm.activeNode(disk.id)) === disk.nodes.mirror ? 'moved' : 'broken'] as const;
  });
  return new Map(await Promise.all(states));
}

/** That of all disks together. */
export function mirrorState({ name, plan, row, byUser }: Standing, mirrors: DiskMirrors): MirrorState {
  const states = plan.disks.map(({ id }) => mirrors.get(id));
  const moved = plan.disks.filter(({ id }) => mirrors.get(id) === 'moved');
  if (moved.length > 0) return { state: 'broken', advice: movedText(moved) };
  const broken = plan.disks.filter(({ id }) => mirrors.get(id) === 'broken').map(({ id }) => `'${id}'`);
  if (broken.length > 0) {
    const what = `the mirror of ${broken.join(', ')} is not there any more, or failed; the guest goes on at the source`;
    const next = byUser
      ? `snapshot-delete ${plan.vm.name} ${name} --mirror-abort takes it back`
      : `see blockferry status ${row.id}`;
    return { state: 'broken', advice: `${what}; ${next}` };
  }
  if (states.every((state) => state === 'pivot')) {
    return { state: 'pivot', advice: `it was being ended: blockferry recover ${row.id} finishes it` };
  }
  if (byUser && mirrors.size === 0) {
    return { state: 'unknown', advice: `the monitor of the VM cannot be asked, at ${row.vm.address}` };
  }
  return { state: states.every((state) => state === 'yes') ? 'ready' : 'copying' };
}

/** Nobody has compared the chain there then, and blockferry does not touch what the guest runs on. */
function movedText(disks: readonly PlannedDisk[]): string {
  const which = disks.map(({ id, targetOverlay }) => `'${id}' over to ${targetOverlay}`).join(', ');
  return `somebody else has taken ${which}, and the guest runs on that: look whether all that it stands on was copied; blockferry leaves it as it is`;
}
