import { type Clock, ferryError } from '../../base/index.ts';
import { BLOCK_JOB_ABORT, DOMAIN_STATE, ERR, isLibvirtError, type RemoteDomain } from '../../libvirt/index.ts';
import type { JobState } from '../virtual-machine.ts';
import { diskOf } from './domain-xml.ts';
import { formatJobName, type JobName } from './job-name.ts';
import type { Libvirtd } from './reach.ts';
import { describe } from './read-domain.ts';

/** A domain on a connection. */
export interface Domain {
  readonly client: Libvirtd;
  readonly dom: RemoteDomain;
}

/**
 * The longest that a suspended VM waits for a target that takes nothing more, in milliseconds: then the swap is given up
 * and the guest goes on where it was. It bounds the pause; a target that still takes data is waited for.
 */
const STALL_MS = 5000;
const LOOK_EVERY_MS = 20;
/** How long a job that was aborted may take to be gone. It holds nothing any more. */
const GONE_MS = 30_000;

/**
 * How these jobs stand; a job that does not exist is not in the answer. One that was pivoted while the VM stands still is
 * `pending`: the disk has gone over, and the guest has not seen it yet.
 */
export async function jobStates({ client, dom }: Domain, names: readonly JobName[]): Promise<JobState[]> {
  const [domain, { state }] = await Promise.all([describe(client, dom), client.call('DOMAIN_GET_STATE', { dom })]);
  const states = await Promise.all(
    names.map(async (name): Promise<JobState[]> => {
      const id = formatJobName(name);
      const disk = diskOf(domain, name.disk);
      const active = disk?.images[0]?.path;
      if (active === name.to && disk?.mirror === undefined && state === DOMAIN_STATE.PAUSED) {
        return [{ id, status: 'pending', ioStatus: 'ok', done: 1, total: 1 }];
      }
      if (disk?.mirror?.path !== name.to || active !== name.from) return [];
      const { found, cur, end } = await client.call('DOMAIN_GET_BLOCK_JOB_INFO', { dom, path: name.disk });
      // A job whose target fails ends at once (libvirt's policy is `report`), so one that is there is well.
      const status = disk.mirror.ready ? 'ready' : 'running';
      return found === 0 ? [] : [{ id, status, ioStatus: 'ok', done: Number(cur), total: Number(end) }];
    }),
  );
  return states.flat();
}

/** Waits until a suspended VM's jobs have copied all there is: a pivot then has nothing to wait for. */
export async function untilCalm(domain: Domain, names: readonly JobName[], clock: Clock): Promise<void> {
  let behind = Number.POSITIVE_INFINITY;
  let since = clock.monotonic();
  for (;;) {
    const jobs = await jobStates(domain, names);
    const left = jobs.reduce((sum, { done, total }) => sum + total - done, 0);
    const all = jobs.length === names.length && jobs.every(({ status }) => status === 'ready' || status === 'pending');
    if (all && left === 0) return;
    if (jobs.length < names.length) throw failed(names, 'a job has ended');
    if (left < behind) since = clock.monotonic();
    behind = Math.min(behind, left);
    if (clock.monotonic() - since > STALL_MS) throw failed(names, 'the storage takes nothing more');
    await clock.sleep(LOOK_EVERY_MS);
  }
}

/** Waits until these jobs have looked at what there is to copy: from then on they see every write. */
export async function untilBegun(domain: Domain, names: readonly JobName[], clock: Clock): Promise<void> {
  for (;;) {
    const jobs = await jobStates(domain, names);
    if (jobs.every(({ status, total }) => total > 0 || status === 'ready')) return;
    await clock.sleep(LOOK_EVERY_MS);
  }
}

/** Waits until a job can be pivoted. */
export async function untilReady(domain: Domain, name: JobName, clock: Clock): Promise<void> {
  for (;;) {
    const [job] = await jobStates(domain, [name]);
    if (job === undefined) throw failed([name], 'the job has ended');
    if (job.status === 'ready') return;
    await clock.sleep(LOOK_EVERY_MS);
  }
}

/** Waits until none of the jobs is there any more. */
export async function untilGone(domain: Domain, names: readonly JobName[], clock: Clock): Promise<void> {
  const until = clock.monotonic() + GONE_MS;
  for (;;) {
    const jobs = await jobStates(domain, names);
    if (jobs.every(({ status }) => status === 'pending')) return;
    if (clock.monotonic() > until) throw failed(names, 'an aborted job does not end: its storage does not answer');
    await clock.sleep(LOOK_EVERY_MS);
  }
}

/** The disk goes over to the job's target. Done when it has. */
export async function pivotJob({ client, dom }: Domain, { disk }: JobName): Promise<void> {
  await client.call('DOMAIN_BLOCK_JOB_ABORT', { dom, path: disk, flags: BLOCK_JOB_ABORT.PIVOT });
}

/** The job is told to end; the disk stays where it is. */
export async function abortJob({ client, dom }: Domain, { disk }: JobName): Promise<void> {
  try {
    await client.call('DOMAIN_BLOCK_JOB_ABORT', { dom, path: disk, flags: BLOCK_JOB_ABORT.ASYNC });
  } catch (error) {
    // It has ended by itself meanwhile.
    if (!isLibvirtError(error, ERR.INVALID_ARG, ERR.OPERATION_INVALID)) throw error;
  }
}

function failed(names: readonly JobName[], reason: string): Error {
  return ferryError('HOLD_FAILED', { jobs: names.map(formatJobName).join(', '), reason });
}
