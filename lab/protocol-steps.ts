import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { BlockdevOptions, JobInfo, JobStatus, MirrorCopyMode, QmpClient } from '../src/qmp/index.ts';

const POLL_MS = 5;

/** Node names of a QEMU that somebody gave: QEMU's own begin with `#`. */
export async function namedNodes(qmp: QmpClient): Promise<string[]> {
  const nodes = await qmp.execute('query-named-block-nodes', { flat: true });
  return nodes
    .map((node) => node['node-name'] ?? '')
    .filter((name) => !name.startsWith('#'))
    .sort();
}

/** The commands of a migration, one method each, on whatever QEMU the client talks to. `src-X` and `dst-X` are the overlays of disk X. */
export class ProtocolSteps {
  readonly qmp: QmpClient;
  readonly source: string;
  readonly target: string;
  readonly baseFormat: string;

  constructor(qmp: QmpClient, folders: { source: string; target: string }, baseFormat: string) {
    this.qmp = qmp;
    this.source = folders.source;
    this.target = folders.target;
    this.baseFormat = baseFormat;
  }

  /** One transaction takes the snapshot of all: `base-X` (or the given node) goes below `src-X`. */
  async snapshot(disks: readonly string[], active = (disk: string): string => `base-${disk}`): Promise<void> {
    for (const disk of disks) {
      const file = { driver: 'file', filename: join(this.source, `${disk}.ov`), 'node-name': `fsrc-${disk}` } as const;
      await this.qmp.execute('blockdev-add', { driver: 'qcow2', 'node-name': `src-${disk}`, file, backing: null });
    }
    const actions = disks.map((disk) => ({
      type: 'blockdev-snapshot' as const,
      data: { node: active(disk), overlay: `src-${disk}` },
    }));
    await this.qmp.execute('transaction', { actions });
  }

  /** The mirror's target, opened on the node that it is to read through: the source's base, or (wrongly) nothing. */
  async addTarget(disk: string, backing: string | null): Promise<void> {
    const file = { driver: 'file', filename: join(this.target, `${disk}.ov`), 'node-name': `fdst-${disk}` } as const;
    await this.qmp.execute('blockdev-add', { driver: 'qcow2', 'node-name': `dst-${disk}`, file, backing });
  }

  /** `under`: where the overlay is not the root node of its disk, the root (a filter), and the overlay, to be replaced. */
  async mirror(
    disk: string,
    mode: MirrorCopyMode = 'write-blocking',
    under?: { readonly device: string; readonly replaces: string },
  ): Promise<void> {
    await this.qmp.execute('blockdev-mirror', {
      'job-id': `m-${disk}`,
      ...(under ?? { device: `src-${disk}` }),
      target: `dst-${disk}`,
      sync: 'top',
      'copy-mode': mode,
      'auto-finalize': false,
      'auto-dismiss': false,
      'on-target-error': 'report',
    });
  }

  /** The target's chain as its headers name it: one node with an inline file, its backing images opened by QEMU. */
  async addTargetChain(disk: string): Promise<void> {
    const file = { driver: 'file', filename: join(this.target, `${disk}.base`), 'node-name': `fdbase-${disk}` };
    const options = { driver: this.baseFormat, 'node-name': `dbase-${disk}`, 'read-only': true, file };
    await this.qmp.execute('blockdev-add', options as BlockdevOptions);
  }

  /** Puts the mirrors' targets on other backing nodes, all in one command. */
  async reopenTargets(disks: readonly string[], backing: (disk: string) => string): Promise<void> {
    const options = disks.map((disk) => {
      const node = { driver: 'qcow2' as const, 'node-name': `dst-${disk}`, file: `fdst-${disk}` };
      return { ...node, backing: backing(disk) };
    });
    await this.qmp.execute('blockdev-reopen', { options });
  }

  async job(id: string): Promise<JobInfo | undefined> {
    return (await this.qmp.execute('query-jobs')).find((job) => job.id === id);
  }

  /** Waits until jobs reach a status. Throws when one of them concludes without it. */
  async reached(ids: readonly string[], status: JobStatus): Promise<void> {
    for (const id of ids) {
      for (;;) {
        const job = await this.job(id);
        if (job?.status === status) break;
        if (job === undefined || job.status === 'concluded') throw new Error(`${id} is ${JSON.stringify(job)}`);
        await sleep(POLL_MS);
      }
    }
  }

  /** `job-complete` on all, then waits until all are pending: their I/O is held. */
  async complete(ids: readonly string[]): Promise<void> {
    await Promise.all(ids.map((id) => this.qmp.execute('job-complete', { id })));
    await this.reached(ids, 'pending');
  }

  /** Finalizes, waits for the end, and dismisses. Throws what a job reports. */
  async finalize(ids: readonly string[]): Promise<void> {
    for (const id of ids) await this.qmp.execute('job-finalize', { id });
    await this.dismiss(ids);
  }

  /** Waits until the jobs have concluded and dismisses them; the errors that they ended with, by job. */
  async dismiss(ids: readonly string[]): Promise<(string | undefined)[]> {
    await this.reached(ids, 'concluded');
    const errors = await Promise.all(ids.map(async (id) => (await this.job(id))?.error));
    for (const id of ids) await this.qmp.execute('job-dismiss', { id });
    return errors;
  }

  /** Starts the fold of an active overlay into the image below it, with the pending state kept. `top`: the overlay, where it is under a filter. */
  async fold(device: string, base: string, id: string, top?: string): Promise<void> {
    await this.qmp.execute('block-commit', {
      'job-id': id,
      device,
      ...(top === undefined ? {} : { 'top-node': top }),
      'base-node': base,
      'auto-finalize': false,
      'auto-dismiss': false,
    });
    await this.reached([id], 'ready');
  }
}
