import { type Clock, ferryError, messageOf, systemClock } from '../../base/index.ts';
import { isQmpCommandError, type QmpAddress, QmpClient } from '../../qmp/index.ts';
import type { Inventory, VmIdentity } from '../inventory.ts';
import type {
  FoldJob,
  JobState,
  MirrorNode,
  OpenFile,
  OverlayNode,
  TargetChain,
  VirtualMachine,
} from '../virtual-machine.ts';
import {
  cancelJobs,
  dismissJobs,
  finalizeJobs,
  holdJobs,
  jobChange,
  jobsBegun,
  jobStates,
  settleJobs,
  withinLimit,
} from './block-jobs.ts';
import { diskId } from './disks.ts';
import { GuestAgent } from './guest-agent.ts';
import type { DialledMonitor, Monitor } from './monitor.ts';
import { type HostFacts, readInventory } from './read-inventory.ts';
import {
  chainOptions,
  foldArguments,
  mirrorArguments,
  mirrorFileOptions,
  mirrorOptions,
  overlayOptions,
  reopenOptions,
} from './node-options.ts';
import { hostFacts } from './host-facts.ts';

/** A virtual machine whose QEMU is driven straight over QMP. */
export class QemuVm implements VirtualMachine {
  readonly identity: VmIdentity;
  readonly takesServed = true;
  readonly #host: HostFacts;
  readonly #clock: Clock;
  readonly #dial: () => Promise<DialledMonitor>;
  readonly #agent: GuestAgent;
  #qmp: Monitor;

  private constructor({ qmp, host }: DialledMonitor, dial: () => Promise<DialledMonitor>, clock: Clock) {
    this.#qmp = qmp;
    this.#dial = dial;
    this.#host = host;
    this.#clock = clock;
    this.identity = host.identity;
    const { absolute, identity } = host;
    const monitor = async (): Promise<Monitor> => await this.#monitor();
    this.#agent = new GuestAgent({ vm: identity.name, clock, monitor, absolute });
  }

  /**
   * Connects to a VM's monitor, and finds out which process is behind it.
   * @throws what `QmpClient.connect` throws; FerryError VM_PROCESS_UNKNOWN when QEMU is not a process of this host
   */
  static async connect(address: QmpAddress, options: { signal?: AbortSignal; clock?: Clock } = {}): Promise<QemuVm> {
    const first = await dial(address, options.signal);
    return new QemuVm(first, () => dial(address), options.clock ?? systemClock);
  }

  /** The VM behind a monitor that is connected to, and connected to again where it is lost, by `dial`. */
  static async over(dial: () => Promise<DialledMonitor>, clock: Clock): Promise<QemuVm> {
    return new QemuVm(await dial(), dial, clock);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#agent[Symbol.dispose]();
    await this.#qmp[Symbol.asyncDispose]();
  }

  async hasEnded(): Promise<boolean> {
    return await this.#host.hasEnded();
  }

  async inventory(): Promise<Inventory> {
    return await readInventory(await this.#monitor(), this.#host);
  }

  async cannotOpen(folder: string): Promise<string | undefined> {
    const qmp = await this.#monitor();
    // A name that nobody has: a QEMU that may look into the folder says ENOENT, and no node comes of it.
    const node = `bf-look-${this.#clock.now().toString(36)}`;
    const filename = `${folder}/.${node}`;
    try {
      await qmp.execute('blockdev-add', { driver: 'file', 'node-name': node, filename, 'read-only': true });
    } catch (error) {
      if (!isQmpCommandError(error)) throw error;
      return /No such file or directory/.test(messageOf(error)) ? undefined : String(error.fields['desc']);
    }
    await qmp.execute('blockdev-del', { 'node-name': node });
    return undefined;
  }

  async activeNode(disk: string): Promise<string | undefined> {
    const blocks = await (await this.#monitor()).execute('query-block');
    return blocks.find((block) => diskId(block) === disk)?.inserted?.['node-name'];
  }

  async existingNodes(names: readonly string[]): Promise<readonly string[]> {
    const nodes = await (await this.#monitor()).execute('query-named-block-nodes', { flat: true });
    const existing = new Set(nodes.map((node) => node['node-name']));
    return names.filter((name) => existing.has(name));
  }

  async isOpen(name: string): Promise<boolean> {
    return (await this.existingNodes([name])).length > 0;
  }

  async hasBacking(name: string): Promise<boolean> {
    // The flat answer has a depth of 0 for all of them.
    const nodes = await (await this.#monitor()).execute('query-named-block-nodes');
    const node = nodes.find((each) => each['node-name'] === name);
    return node !== undefined && node.backing_file_depth > 0;
  }

  async canFreeze(): Promise<void> {
    await this.#agent.check();
  }

  async snapshot(overlays: readonly OverlayNode[], beforeFreeze?: () => void): Promise<void> {
    const qmp = await this.#monitor();
    for (const overlay of overlays) await qmp.execute('blockdev-add', overlayOptions(overlay));
    if (beforeFreeze !== undefined) {
      await this.#agent.check();
      beforeFreeze();
      await this.#agent.freeze();
    }
    await qmp.execute('transaction', {
      actions: overlays.map(({ base, node }) => {
        return { type: 'blockdev-snapshot' as const, data: { node: base, overlay: node } };
      }),
    });
  }

  async thaw(): Promise<void> {
    await this.#agent.thaw();
  }

  async startMirrors(
    mirrors: readonly MirrorNode[],
    beforeStop: () => Promise<void>,
    limitMs: number = Number.POSITIVE_INFINITY,
  ): Promise<void> {
    const qmp = await this.#monitor();
    const ids = mirrors.map(({ job }) => job);
    // QEMU takes a monitor's commands in turn.
    await this.#startJobs(qmp, { ids, limitMs }, beforeStop, () =>
      Promise.all([
        ...mirrors.map((mirror) => qmp.execute('blockdev-add', mirrorOptions(mirror))),
        ...mirrors.map((mirror) => qmp.execute('blockdev-mirror', mirrorArguments(mirror))),
      ]),
    );
  }

  async jobs(ids: readonly string[]): Promise<readonly JobState[]> {
    return await jobStates(await this.#monitor(), ids);
  }

  async jobChange(ids: readonly string[], ms: number, signal?: AbortSignal): Promise<void> {
    await jobChange(await this.#monitor(), ids, this.#clock, ms, signal);
  }

  async openChains(chains: readonly TargetChain[]): Promise<void> {
    const qmp = await this.#monitor();
    for (const chain of chains) {
      if (chain.openFile) await qmp.execute('blockdev-add', mirrorFileOptions(chain.mirror));
      await qmp.execute('blockdev-add', chainOptions(chain));
    }
  }

  async attach(chains: readonly TargetChain[]): Promise<void> {
    const qmp = await this.#monitor();
    await qmp.execute('blockdev-reopen', { options: chains.map(reopenOptions) });
  }

  async hold(jobs: readonly string[], limitMs: number, beforeStop: () => Promise<void>): Promise<void> {
    const qmp = await this.#monitor();
    await holdJobs(qmp, jobs, limitMs, this.#clock, (limit) => stopVm(qmp, beforeStop, limit));
  }

  async release(jobs: readonly string[]): Promise<void> {
    await finalizeJobs(await this.#monitor(), jobs);
  }

  async wake(): Promise<void> {
    const qmp = await this.#monitor();
    if ((await qmp.execute('query-status')).status === 'paused') await qmp.execute('cont');
  }

  async settle(jobs: readonly string[]): Promise<void> {
    const errors = await settleJobs(await this.#monitor(), jobs, this.#clock);
    for (const [job, reason] of errors) throw ferryError('SWAP_FAILED', { job, reason });
  }

  async cancel(jobs: readonly string[]): Promise<void> {
    await cancelJobs(await this.#monitor(), jobs);
  }

  async dismiss(jobs: readonly string[]): Promise<readonly string[]> {
    return (await dismissJobs(await this.#monitor(), jobs)).left;
  }

  async startFolds(folds: readonly FoldJob[], beforeStop: () => Promise<void>): Promise<void> {
    const qmp = await this.#monitor();
    const ids = folds.map(({ job }) => job);
    // Those write to the guest's own storage, for which it waits in any case.
    await this.#startJobs(qmp, { ids, limitMs: Number.POSITIVE_INFINITY }, beforeStop, () =>
      Promise.all(folds.map((fold) => qmp.execute('block-commit', foldArguments(fold)))),
    );
  }

  /**
   * Starts mirror or commit jobs while the VM is stopped, until they have looked at what there is to copy.
   *
   * QEMU 10.0 loses, without a word, writes that are under way while such a job starts: they are neither in its bitmap nor
   * allocated yet when it looks (mended upstream by "mirror: Fix missed dirty bitmap writes during startup"; 7.2 does not have it).
   *
   * The mirrors are opened then, too. QEMU 7.2 opens the image below the overlay anew when another node is put on it
   * (`blockdev-add` with `backing`), and closes what it had without a drain: a snapshot, as every reopening, makes it forget how
   * that was opened (`raw_reopen_commit`). A read of the image that was under way may end with "Bad file descriptor", and with it
   * the guest's request; or it reads what got the descriptor's number meanwhile. 10.0 opens it anew as well; no read was seen to fail.
   */
  async #startJobs(
    qmp: Monitor,
    { ids, limitMs }: { readonly ids: readonly string[]; readonly limitMs: number },
    beforeStop: () => Promise<void>,
    start: () => Promise<unknown>,
  ): Promise<void> {
    await stopVm(qmp, beforeStop);
    const until = this.#clock.monotonic() + limitMs;
    await withinLimit(start(), { ids, limitMs }, this.#clock);
    await jobsBegun(qmp, { ids, limitMs, until }, this.#clock);
  }

  async closeNodes(names: readonly string[]): Promise<void> {
    const qmp = await this.#monitor();
    const existing = new Set(await this.existingNodes(names));
    for (const name of names.filter((node) => existing.has(node))) {
      await qmp.execute('blockdev-del', { 'node-name': name });
    }
  }

  async closeUnusedNodes(names: readonly string[]): Promise<void> {
    const qmp = await this.#monitor();
    for (const name of await this.existingNodes(names)) {
      try {
        await qmp.execute('blockdev-del', { 'node-name': name });
      } catch (error) {
        // Another disk still stands on it, or QEMU itself owns it and closes it with its last user.
        if (!isQmpCommandError(error)) throw error;
      }
    }
  }

  async openFiles(): Promise<readonly OpenFile[] | undefined> {
    return await this.#host.openFiles();
  }

  /** The monitor; connected anew where the connection was lost and the same QEMU is still there. */
  async #monitor(): Promise<Monitor> {
    if (this.#qmp.state !== 'closed') return this.#qmp;
    const { qmp, host } = await this.#dial();
    if (host.identity.process !== this.identity.process) {
      qmp.close();
      throw ferryError('VM_REPLACED', { vm: this.identity.name, address: this.identity.address });
    }
    this.#qmp = qmp;
    return qmp;
  }
}

async function dial(address: QmpAddress, signal?: AbortSignal): Promise<DialledMonitor> {
  const qmp = await QmpClient.connect(address, signal ? { signal } : {});
  try {
    return { qmp, host: await hostFacts(qmp, address) };
  } catch (error) {
    qmp.close();
    throw error;
  }
}

/**
 * Stops the processors of a VM that runs; one that somebody else has stopped is left to them. QEMU waits in its main loop for
 * the I/O of every job and flushes every image (7.2 and 10.0): a storage that hangs must not be met here.
 * @param limit nothing is stopped once it is aborted: the swap that needed it was given up
 */
async function stopVm(qmp: Monitor, before: () => Promise<void>, limit?: AbortSignal): Promise<void> {
  if ((await qmp.execute('query-status')).status !== 'running') return;
  limit?.throwIfAborted();
  await before();
  limit?.throwIfAborted();
  await qmp.execute('stop');
}
