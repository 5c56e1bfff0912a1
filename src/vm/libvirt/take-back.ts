import { type Clock, type FerryError, ferryError } from '../../base/index.ts';
import { isLibvirtError } from '../../libvirt/index.ts';
import type { JobState } from '../virtual-machine.ts';
import {
  abortJob,
  copyDisk,
  type Domain,
  jobStates,
  pivotJob,
  snapshotDisks,
  untilGone,
  untilReady,
} from './block-jobs.ts';
import type { JobName } from './job-name.ts';
import { refuseForgotten } from './qemu-process.ts';

/**
 * Takes a disk back that a job of a suspended VM was pivoted to, in a swap that was broken off before its record: both sides are
 * equal then, so nothing is lost by it. May be called again, also by who comes after one that died in it.
 * @throws FerryError NOT_TAKEN_BACK when libvirt refuses; SNAPSHOT_UNRECORDED, JOB_UNRECORDED
 */
export async function takeBack(domain: Domain, name: JobName, clock: Clock): Promise<void> {
  try {
    await (name.kind === 'commit' ? putBackOnTop(domain, name, clock) : copyBack(domain, name, clock));
  } catch (error) {
    throw isLibvirtError(error) ? notTakenBack(domain.dom.name, name, error.message, error) : error;
  }
}

/** That a disk is where it must not stay. */
export function notTakenBack(vm: string, { disk, from, to }: JobName, reason: string, cause?: unknown): FerryError {
  return ferryError('NOT_TAKEN_BACK', { vm, disk, from, to, reason }, ...(cause === undefined ? [] : [{ cause }]));
}

/** The overlay holds nothing that the image below does not: it is put on top again. */
async function putBackOnTop(domain: Domain, { disk, from }: JobName, clock: Clock): Promise<void> {
  await refuseForgotten(domain.reach, from, clock);
  await snapshotDisks(domain, [{ disk, path: from }]);
}

async function copyBack(domain: Domain, { kind, disk, from, to }: JobName, clock: Clock): Promise<void> {
  const back: JobName = { kind, disk, from: to, to: from };
  const look = async (): Promise<JobState | undefined> => (await jobStates(domain, [back], clock))[0];
  let begun = await look();
  if (begun !== undefined && begun.status !== 'pending') {
    // By whoever died. libvirt refuses a pivot that was broken off, so it is done from the beginning.
    await abortJob(domain, back);
    await untilGone(domain, [back], clock);
    begun = await look();
  }
  // Its pivot was under way.
  if (begun?.status === 'pending') return;
  await copyDisk(domain, disk, from);
  await untilReady(domain, back, clock);
  await pivotJob(domain, back);
}
