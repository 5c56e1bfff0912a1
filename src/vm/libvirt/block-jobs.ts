import { type Clock, ferryError } from '../../base/index.ts';
import {
  BLOCK_COPY,
  BLOCK_JOB_ABORT,
  BLOCK_JOB_TYPE,
  DOMAIN_STATE,
  ERR,
  isLibvirtError,
  SNAPSHOT_CREATE,
  type RemoteDomain,
} from '../../libvirt/index.ts';
import type { JobState } from '../virtual-machine.ts';
import { copyTargetXml, diskOf, type DomainDisk, snapshotXml } from './domain-xml.ts';
import { formatJobName, type JobName } from './job-name.ts';
import type { DomainReach, Libvirtd } from './reach.ts';
import { describe } from './read-domain.ts';

/** A domain on a connection. */
export interface Domain {
  readonly client: Libvirtd;
  readonly reach: DomainReach;
  /** Jobs that were found without their mirrors and aborted. None of them has gone over, and QEMU keeps their targets open. */
  readonly strays: Set<string>;
  readonly dom: RemoteDomain;
}

/**
 * The longest that a suspended VM waits for a target that takes nothing more, in milliseconds: then the swap is given up
 * and the guest goes on where it was. It bounds the pause; a target that still takes data is waited for.
 */
const STALL_MS = 5000;
const LOOK_EVERY_MS = 20;
const LOOK_SELDOM_MS = 250;
/** Within this most jobs that were aborted are gone. */
const SOON_MS = 1000;
/** How long what libvirt says of a job and its disk may not go together while the job ends. */
const SETTLES_MS = 2000;
/** How long a job that was aborted may take to be gone. It holds nothing any more. */
const GONE_MS = 30_000;

/**
 * How these jobs stand; a job that does not exist is not in the answer. One that was pivoted while the VM stands still is
 * `pending`: the disk has gone over, and the guest has not seen it yet; also while it is being taken back. One that libvirt does not
 * know enough of to pivot it is `aborting`: it can be aborted and nothing else.
 * @throws FerryError JOB_UNRECORDED when libvirt cannot know on which file QEMU runs
 */
export async function jobStates(domain: Domain, names: readonly JobName[], clock: Clock): Promise<JobState[]> {
  const { client, dom } = domain;
  let until: number | undefined;
  for (;;) {
    const [description, { state }] = await Promise.all([
      describe(client, dom),
      client.call('DOMAIN_GET_STATE', { dom }),
    ]);
    const paused = state === DOMAIN_STATE.PAUSED;
    const states = await Promise.all(
      names.map((name) => jobState(domain, diskOf(description, name.disk), name, paused)),
    );
    const unclear = names[states.indexOf('unclear')];
    if (unclear === undefined) return states.filter((job) => typeof job === 'object');
    // libvirt may have been long with the second answer.
    until ??= clock.monotonic() + SETTLES_MS;
    if (clock.monotonic() > until) {
      const { disk, from, to } = unclear;
      throw ferryError('JOB_UNRECORDED', { vm: dom.name, disk, from, to });
    }
    await clock.sleep(LOOK_EVERY_MS);
  }
}

/** How one of them stands; `unclear` where libvirtd may have ended before it wrote down that the disk has gone over. */
async function jobState(
  { client, dom, reach, strays }: Domain,
  disk: DomainDisk | undefined,
  name: JobName,
  paused: boolean,
): Promise<JobState | 'unclear' | undefined> {
  const id = formatJobName(name);
  const { kind, from, to } = name;
  const active = disk?.images[0]?.path;
  const mirror = disk?.mirror;
  if (active === to && paused && (mirror === undefined || mirror.path === from)) {
    return { id, status: 'pending', ioStatus: 'ok', done: 1, total: 1 };
  }
  // For a moment, while libvirt concludes it.
  if (active === to && mirror?.path === to) return 'unclear';
  if (active !== from || (mirror !== undefined && mirror.path !== to)) return undefined;
  const { found, type, cur, end } = await client.call('DOMAIN_GET_BLOCK_JOB_INFO', { dom, path: name.disk });
  const mine = type === (kind === 'copy' ? BLOCK_JOB_TYPE.COPY : BLOCK_JOB_TYPE.ACTIVE_COMMIT);
  if (found !== 0 && (mine || mirror !== undefined)) {
    // libvirtd 9.0 that ends when QEMU has begun a job, and before it has written down its mirror, knows the job alone afterwards.
    // A job whose target fails ends at once (libvirt's policy is `report`), so one that is there is well.
    if (mirror === undefined) strays.add(id);
    const status = mirror === undefined ? 'aborting' : mirror.ready ? 'ready' : 'running';
    return { id, status, ioStatus: 'ok', done: Number(cur), total: Number(end) };
  }
  // One that ends when QEMU has ended a job, and before it has written that down, keeps the mirror and has no job (9.0); or, if
  // what it had not written down is the pivot, takes it for an abort. For a moment either is so while a job ends.
  const keeps = kind === 'copy' && !strays.has(id) && (await reach.hasOpen(to));
  if (mirror !== undefined || keeps) return 'unclear';
  return undefined;
}

/** The snapshot: these disks go on in these files, all of them at one instant. */
export async function snapshotDisks(
  { client, dom }: Domain,
  overlays: readonly { readonly disk: string; readonly path: string }[],
  beforeFreeze?: () => void,
): Promise<void> {
  const { disks } = await describe(client, dom);
  const { DISK_ONLY, REUSE_EXT, NO_METADATA, ATOMIC, QUIESCE } = SNAPSHOT_CREATE;
  beforeFreeze?.();
  const flags = DISK_ONLY | REUSE_EXT | NO_METADATA | ATOMIC | (beforeFreeze ? QUIESCE : 0);
  await client.call('DOMAIN_SNAPSHOT_CREATE_XML', { dom, xml_desc: snapshotXml(overlays, disks), flags });
}

/** Starts mirroring a disk to a file, in background mode, which is the only one that is safe (`LibvirtVm` says why). */
export async function copyDisk({ client, dom }: Domain, disk: string, path: string): Promise<void> {
  // Without TRANSIENT_JOB libvirt refuses to copy a disk of a persistent domain: the job would not survive a restart
  // of the VM. Ours does not either, and `recover` knows.
  const flags = BLOCK_COPY.SHALLOW | BLOCK_COPY.REUSE_EXT | BLOCK_COPY.TRANSIENT_JOB;
  await client.call('DOMAIN_BLOCK_COPY', { dom, path: disk, destxml: copyTargetXml(path), params: [], flags });
}

/** Waits until a suspended VM's jobs have copied all there is: a pivot then has nothing to wait for. */
export async function untilCalm(domain: Domain, names: readonly JobName[], clock: Clock): Promise<void> {
  let behind = Number.POSITIVE_INFINITY;
  let since = clock.monotonic();
  for (;;) {
    const jobs = await jobStates(domain, names, clock);
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

/**
 * Waits until these jobs have looked at what there is to copy: from then on they see every write. A job that finds nothing says
 * so when it has flushed its target, which may hang.
 * @param limitMs milliseconds
 * @throws FerryError START_FAILED
 */
export async function untilBegun(
  domain: Domain,
  names: readonly JobName[],
  clock: Clock,
  limitMs: number,
): Promise<void> {
  const until = clock.monotonic() + limitMs;
  for (;;) {
    const jobs = await jobStates(domain, names, clock);
    if (jobs.every(({ status, total }) => total > 0 || status === 'ready')) return;
    if (clock.monotonic() > until)
      throw ferryError('START_FAILED', { jobs: names.map(formatJobName).join(', '), ms: limitMs });
    await clock.sleep(LOOK_EVERY_MS);
  }
}

/** Waits until a job can be pivoted. */
export async function untilReady(domain: Domain, name: JobName, clock: Clock): Promise<void> {
  for (;;) {
    const [job] = await jobStates(domain, [name], clock);
    if (job === undefined || job.status === 'aborting') throw failed([name], 'the job has ended');
    if (job.status === 'ready') return;
    await clock.sleep(LOOK_EVERY_MS);
  }
}

/** Waits until none of the jobs is there any more. */
export async function untilGone(domain: Domain, names: readonly JobName[], clock: Clock): Promise<void> {
  const until = clock.monotonic() + GONE_MS;
  for (;;) {
    const jobs = await jobStates(domain, names, clock);
    if (jobs.every(({ status }) => status === 'pending')) return;
    if (clock.monotonic() > until) throw failed(names, 'an aborted job does not end: its storage does not answer');
    // What takes longer waits for a storage.
    await clock.sleep(until - clock.monotonic() > GONE_MS - SOON_MS ? LOOK_EVERY_MS : LOOK_SELDOM_MS);
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
    // It has ended by itself meanwhile, or is ending, and QEMU does not cancel it then. Who waits until it is gone sees.
    if (!isLibvirtError(error, ERR.INVALID_ARG, ERR.OPERATION_INVALID, ERR.INTERNAL_ERROR)) throw error;
  }
}

function failed(names: readonly JobName[], reason: string): Error {
  return ferryError('HOLD_FAILED', { jobs: names.map(formatJobName).join(', '), reason });
}
