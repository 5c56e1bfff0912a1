import { type Clock, type FerryError, ferryError, systemClock } from '../../base/index.ts';
import { BLOCK_COMMIT, DOMAIN_STATE, isLibvirtConnectionLost, LibvirtClient, LIFECYCLE } from '../../libvirt/index.ts';
import type { Inventory, VmIdentity } from '../inventory.ts';
import type {
  FoldJob,
  GuestBrake,
  JobState,
  MirrorNode,
  OpenFile,
  OverlayNode,
  VirtualMachine,
} from '../virtual-machine.ts';
import {
  abortJob,
  copyDisk,
  type Domain,
  jobStates,
  pivotJob,
  snapshotDisks,
  untilBegun,
  untilCalm,
  untilGone,
} from './block-jobs.ts';
import { diskLimits } from './disk-limits.ts';
import { diskOf, filesOf } from './domain-xml.ts';
import { domainOf } from './find-domain.ts';
import { checkAgent, thawGuest } from './guest-agent.ts';
import { formatJobName, type JobName, parseJobName } from './job-name.ts';
import { cannotEnter, domainIdentity, realReach, refuseForgotten } from './qemu-process.ts';
import type { DomainReach, Libvirtd } from './reach.ts';
import { describe, readDomain } from './read-domain.ts';
import { closeStrays } from './stray-nodes.ts';
import { notTakenBack, takeBack } from './take-back.ts';

/** How often a libvirtd that went away is looked for, in milliseconds. The VM runs on meanwhile. */
const RECONNECT_EVERY_MS = 200;
/** For how long it is looked for. systemd starts it again in a second. */
const RECONNECT_FOR_MS = 60_000;
/** QEMU 8.2, as libvirt counts. libvirt's API does not tell what a QEMU can do beyond its version. */
const FIRST_THAT_MAY_MISS = 8_002_000n;

/**
 * A virtual machine of libvirt. libvirt knows of every change: snapshot, block copy and block commit are its own, so that
 * the running definition and the one on disk both follow.
 *
 * What differs from a QEMU that is driven over QMP:
 * - Nodes are named by their files, as libvirt's own names are its business; jobs as `job-name.ts` says.
 * - libvirt opens a mirror's chain when it pivots (it opens the mirror on no chain at all, which only the background mode
 *   survives: `--synchronous-writes` filled clusters with zeroes, measured on 9.0). So the chain has to be on the target
 *   before the mirrors start, and there is nothing to attach.
 * - No call holds a finished job back. The group goes over while the VM is suspended: `hold` suspends, waits until
 *   the mirrors have all, and pivots each; `release` and `wake` let the VM go on. While it is suspended both sides are equal, so
 *   the commit record between the two means what it means over QMP.
 *
 * Methods throw LIBVIRT_ERROR where the other driver throws QMP_COMMAND, and LIBVIRT_INTERRUPTED for QMP_INTERRUPTED.
 */
export class LibvirtVm implements VirtualMachine {
  readonly identity: VmIdentity;
  readonly brake: GuestBrake = diskLimits(async () => await this.#domain());
  /** libvirt opens the copy's target itself. */
  readonly takesServed = false;
  readonly #reach: DomainReach;
  readonly #clock: Clock;
  readonly #strays: Set<string> = new Set();
  #client: Libvirtd;

  private constructor(client: Libvirtd, reach: DomainReach, clock: Clock) {
    this.#client = client;
    this.#reach = reach;
    this.identity = reach.identity;
    this.#clock = clock;
  }

  /**
   * Connects to a running domain.
   * @param vm its name, uuid or id, as virsh takes it
   * @throws what `LibvirtClient.connect` throws; FerryError NO_SUCH_VM, VM_NOT_RUNNING; VM_PROCESS_UNKNOWN when it runs on
   *   another host
   */
  static async connect(
    uri: string,
    vm: string,
    options: { readonly signal?: AbortSignal; readonly clock?: Clock } = {},
  ): Promise<LibvirtVm> {
    const { signal, clock = systemClock } = options;
    const client = await LibvirtClient.connect(uri, signal ? { signal } : {});
    try {
      const dom = await domainOf(client, vm);
      if (dom.id < 0) throw ferryError('VM_NOT_RUNNING', { vm: dom.name });
      const reach = realReach(dom, await domainIdentity(dom, uri), () => LibvirtClient.connect(uri));
      return new LibvirtVm(client, reach, clock);
    } catch (error) {
      client.close();
      throw error;
    }
  }

  /** A running domain that is reached like this. */
  static async over(reach: DomainReach, clock: Clock): Promise<LibvirtVm> {
    return new LibvirtVm(await reach.connect(), reach, clock);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#client[Symbol.asyncDispose]();
  }

  async hasEnded(): Promise<boolean> {
    return await this.#reach.hasEnded();
  }

  async inventory(): Promise<Inventory> {
    const { client, dom } = await this.#domain();
    return await readDomain(client, dom, this.identity);
  }

  async cannotOpen(folder: string): Promise<string | undefined> {
    return await cannotEnter(this.identity.pid, folder);
  }

  async activeNode(disk: string): Promise<string | undefined> {
    const { client, dom } = await this.#domain();
    return diskOf(await describe(client, dom), disk)?.images[0]?.filename;
  }

  async existingNodes(names: readonly string[]): Promise<readonly string[]> {
    const { client, dom } = await this.#domain();
    const files = filesOf(await describe(client, dom));
    return names.filter((name) => files.has(name));
  }

  async isOpen(node: string): Promise<boolean> {
    const open = await this.#reach.hasOpen(node);
    // A process that is gone has nothing open, and tells nothing.
    if (await this.#reach.hasEnded()) throw this.#gone();
    return open;
  }

  async hasBacking(node: string): Promise<boolean> {
    const { client, dom } = await this.#domain();
    const { disks } = await describe(client, dom);
    if (disks.some(({ images }) => images.slice(0, -1).some(({ filename }) => filename === node))) return true;
    // libvirtd may not know that it is in the chain, and whoever is told that it is not goes on to remove it.
    await refuseForgotten(this.#reach, node, this.#clock);
    if (await this.#reach.hasEnded()) throw this.#gone();
    return false;
  }

  async canFreeze(): Promise<void> {
    await checkAgent(await this.#domain(), this.identity, this.#clock);
  }

  /** libvirt itself freezes and thaws: so the guest is thawed also when whoever asked for it dies meanwhile. */
  async snapshot(overlays: readonly OverlayNode[], beforeFreeze?: () => void): Promise<void> {
    if (beforeFreeze !== undefined) await this.canFreeze();
    await snapshotDisks(await this.#domain(), overlays, beforeFreeze);
  }

  async thaw(): Promise<void> {
    await thawGuest(await this.#domain(), this.identity, this.#clock);
  }

  /** In background mode, always; see above. */
  async startMirrors(
    mirrors: readonly MirrorNode[],
    beforeStop: () => Promise<void>,
    limitMs: number = Number.POSITIVE_INFINITY,
  ): Promise<void> {
    const domain = await this.#domain();
    const names = mirrors.map(({ job }) => nameOf(job));
    await this.#startJobs(domain, { names, limitMs }, beforeStop, () =>
      Promise.all(mirrors.map(({ disk, path }) => copyDisk(domain, disk, path))),
    );
  }

  /**
   * Starts copy or commit jobs so that no guest write is missed: QEMU from 8.2 on loses writes that are under way while
   * such a job starts (see `QemuVm`), so there the VM is suspended until the jobs have looked at their disks.
   */
  async #startJobs(
    domain: Domain,
    { names, limitMs }: { readonly names: readonly JobName[]; readonly limitMs: number },
    beforeStop: () => Promise<void>,
    start: () => Promise<unknown>,
  ): Promise<void> {
    const { hv_ver: version } = await domain.client.call('CONNECT_GET_VERSION');
    const mayMiss = version >= FIRST_THAT_MAY_MISS;
    if (mayMiss) await suspend(domain, beforeStop);
    await start();
    if (mayMiss) await untilBegun(domain, names, this.#clock, limitMs);
  }

  async jobs(ids: readonly string[]): Promise<readonly JobState[]> {
    return await jobStates(await this.#domain(), ids.map(nameOf), this.#clock);
  }

  async jobChange(ids: readonly string[], ms: number, signal?: AbortSignal): Promise<void> {
    const { client, dom } = await this.#domain();
    const disks = new Set(ids.map((id) => nameOf(id).disk));
    const mine = (dst: string | undefined): boolean => dst === undefined || disks.has(dst);
    using changes = await client.listen(
      ['BLOCK_JOB_2', 'LIFECYCLE'],
      (event) => event.dom.uuid === dom.uuid && mine(event.name === 'BLOCK_JOB_2' ? event.dst : undefined),
    );
    const limit = this.#clock.timeout(ms);
    try {
      await changes.next({ signal: signal ? AbortSignal.any([signal, limit]) : limit });
    } catch (error) {
      if (signal?.aborted) throw error;
      if (!limit.aborted && !isLibvirtConnectionLost(error)) throw error;
    }
  }

  /** The images below the mirror of each disk that has one, from the top, as libvirt is going to open them. */
  async mirrorChains(): Promise<ReadonlyMap<string, readonly string[]>> {
    const { client, dom } = await this.#domain();
    const { disks } = await describe(client, dom);
    return new Map(
      disks.flatMap(({ target, mirror }) =>
        mirror === undefined ? [] : [[target, mirror.below.map(({ filename }) => filename)] as const],
      ),
    );
  }

  /** Its `<domain>` as it runs. */
  async xml(): Promise<string> {
    const { client, dom } = await this.#domain();
    return (await client.call('DOMAIN_GET_XML_DESC', { dom })).xml;
  }

  // libvirt opens a mirror's chain itself, when it pivots.
  openChains(): Promise<void> {
    return Promise.resolve();
  }

  attach(): Promise<void> {
    return Promise.resolve();
  }

  async hold(jobs: readonly string[], _limitMs: number, beforeStop: () => Promise<void>): Promise<void> {
    const domain = await this.#domain();
    const { client, dom } = domain;
    const names = jobs.map(nameOf);
    using changes = await client.listen(['LIFECYCLE'], ({ dom: { uuid } }) => uuid === dom.uuid);
    await suspend(domain, beforeStop);
    await untilCalm(domain, names, this.#clock);
    // All at once on one connection; libvirt does them one after another.
    const pivots = await Promise.allSettled(names.map((name) => pivotJob(domain, name)));
    for (const pivot of pivots) if (pivot.status === 'rejected') throw pivot.reason;
    const { state } = await client.call('DOMAIN_GET_STATE', { dom });
    const events = Array.from({ length: changes.length });
    for (const index of events.keys()) events[index] = (await changes.next()).event;
    if (state !== DOMAIN_STATE.PAUSED || events.includes(LIFECYCLE.RESUMED)) {
      const reason = 'somebody else let the VM go on between the pivots of its disks';
      throw ferryError('HOLD_FAILED', { jobs: jobs.join(', '), reason });
    }
  }

  /** The pivots are done; `wake` is what lets the guest go on. */
  release(): Promise<void> {
    return Promise.resolve();
  }

  async wake(): Promise<void> {
    const { client, dom } = await this.#domain();
    const { state } = await client.call('DOMAIN_GET_STATE', { dom });
    if (state === DOMAIN_STATE.PAUSED) await client.call('DOMAIN_RESUME', { dom });
  }

  async settle(jobs: readonly string[]): Promise<void> {
    for (const name of jobs.map(nameOf)) {
      const active = await this.activeNode(name.disk);
      if (active === name.to) continue;
      throw ferryError('SWAP_FAILED', { job: formatJobName(name), reason: `the disk runs on ${active ?? 'nothing'}` });
    }
  }

  /**
   * Jobs that run are aborted. A disk that was pivoted already, in a swap that was broken off before its record, is taken
   * back while the VM is still suspended: both sides are equal then, so nothing is lost by it.
   */
  async cancel(jobs: readonly string[]): Promise<void> {
    const domain = await this.#domain();
    const names = jobs.map(nameOf);
    const running = await jobStates(domain, names, this.#clock);
    for (const { id, status } of running) {
      if (status === 'pending') await takeBack(domain, nameOf(id), this.#clock);
      else await abortJob(domain, nameOf(id));
    }
    await untilGone(domain, names, this.#clock);
  }

  /**
   * `cancel` waits until they are gone.
   * @throws FerryError NOT_TAKEN_BACK where it has failed for one, JOB_UNRECORDED where libvirt cannot know: nothing may be
   *   undone then that lets the VM go on
   */
  async dismiss(jobs: readonly string[]): Promise<readonly string[]> {
    const over = (await this.jobs(jobs)).find(({ status }) => status === 'pending');
    if (over === undefined) return [];
    throw notTakenBack(this.identity.name, nameOf(over.id), 'that was tried and failed');
  }

  async startFolds(folds: readonly FoldJob[], beforeStop: () => Promise<void>): Promise<void> {
    const domain = await this.#domain();
    const { client, dom } = domain;
    const names = folds.map(({ job }) => nameOf(job));
    const common = { dom, top: null, bandwidth: 0n, flags: BLOCK_COMMIT.ACTIVE };
    await this.#startJobs(domain, { names, limitMs: Number.POSITIVE_INFINITY }, beforeStop, () =>
      Promise.all(folds.map(({ disk, base }) => client.call('DOMAIN_BLOCK_COMMIT', { ...common, disk, base }))),
    );
  }

  /** libvirt closes what it opened, but for what it had no time for when it was killed. */
  async closeNodes(names: readonly string[]): Promise<void> {
    await closeStrays(await this.#domain(), names, this.#clock);
  }

  async closeUnusedNodes(names: readonly string[]): Promise<void> {
    await this.closeNodes(names);
  }

  async openFiles(): Promise<readonly OpenFile[] | undefined> {
    return await this.#reach.openFiles();
  }

  /**
   * The domain on a connection that works: connected anew where libvirtd was restarted and QEMU is still the same. libvirt
   * goes on answering for a VM that has ended, with its definition, or with the QEMU that it has started in its place.
   */
  async #domain(): Promise<Domain> {
    const until = this.#clock.monotonic() + RECONNECT_FOR_MS;
    for (;;) {
      if (await this.#reach.hasEnded()) throw this.#gone();
      if (this.#client.state !== 'closed')
        return { client: this.#client, dom: this.#reach.dom, reach: this.#reach, strays: this.#strays };
      try {
        this.#client = await this.#reach.connect();
      } catch (error) {
        if (this.#clock.monotonic() > until) throw error;
        await this.#clock.sleep(RECONNECT_EVERY_MS);
      }
    }
  }

  #gone(): FerryError {
    const { name, address } = this.identity;
    return ferryError('VM_REPLACED', { vm: name, address });
  }
}

/** Suspends a VM that runs; one that somebody else has suspended is left to them. */
async function suspend({ client, dom }: Domain, before: () => Promise<void>): Promise<void> {
  if ((await client.call('DOMAIN_GET_STATE', { dom })).state !== DOMAIN_STATE.RUNNING) return;
  await before();
  await client.call('DOMAIN_SUSPEND', { dom });
}

function nameOf(id: string): JobName {
  const name = parseJobName(id);
  if (name === undefined) throw ferryError('INTERNAL', { what: `'${id}' is no job of a libvirt VM` });
  return name;
}
