import { run } from '../../src/base/index.ts';
import { checkWrites, type GuestWriter, type Lab, type LabDisk } from '../index.ts';
import { type ImageToRead, type OpenChains, openChains } from '../chain-reader.ts';
import { DISK_SIZE, type ImageStock, type Layout } from './layout.ts';
import type { Hypervisor, TrialVm } from './trial-vm.ts';

const MiB = 2 ** 20;

/** What a disk was found to hold. */
export interface DiskCheck {
  readonly acknowledged: number;
  /** Acknowledged writes that are not there, blocks that changed without one, damaged images. */
  readonly lost: number;
  /** The first of them, in words. */
  readonly found: readonly string[];
}

/** A VM whose guest writes to all of its disks, and what its disks held before. */
export class Scene {
  readonly trialVm: TrialVm;
  readonly disks: readonly LabDisk[];
  readonly source: string;
  readonly target: string;
  readonly stateDir: string;
  readonly writers: readonly GuestWriter[];
  readonly #pristine: readonly ImageToRead[];
  readonly #lab: Lab;

  private constructor(lab: Lab, trialVm: TrialVm, writers: readonly GuestWriter[], folders: Folders) {
    this.#lab = lab;
    this.trialVm = trialVm;
    this.disks = trialVm.vm.disks;
    this.writers = writers;
    this.source = folders.source;
    this.target = folders.target;
    this.stateDir = folders.state;
    this.#pristine = this.disks.map(({ path = '', format = 'raw' }) => {
      return { path: path.replace(folders.source, folders.pristine), format };
    });
  }

  /** Makes the images, starts the VM, and waits until every writer writes. */
  static async open(lab: Lab, stock: ImageStock, layout: Layout, hypervisor: Hypervisor): Promise<Scene> {
    const source = await lab.storage('source');
    const target = await lab.storage('target');
    const pristine = await lab.storage('pristine');
    const state = await lab.storage('state');
    const disks = await stock.make(layout, [source, pristine]);
    const trialVm = await hypervisor.start(lab, disks, layout);
    const { vm } = trialVm;
    const writers = await Promise.all(
      layout.writers.map(({ disk, ...options }) => vm.startWriter({ disk: vm.disks[disk]?.id ?? '', ...options })),
    );
    return new Scene(lab, trialVm, writers, { source, target, pristine, state });
  }

  /**
   * Compares the images that now hold the disks with what the guest was told: every acknowledged write of the writers, every
   * block that was never written, and the images with themselves. For when the VM is gone, or its writers have been stopped.
   */
  async check(images: readonly ImageToRead[]): Promise<readonly DiskCheck[]> {
    await using open = await openChains([...images, ...this.#pristine], this.#lab.build);
    const checks: DiskCheck[] = [];
    for (const [n, disk] of this.disks.entries()) {
      const now = open.chains[n] as OpenChains['chains'][number];
      const before = open.chains[n + images.length] as OpenChains['chains'][number];
      const found: string[] = [];
      let [acknowledged, lost] = [0, 0];
      const records = this.writers.filter((writer) => writer.disk === disk.id).map((writer) => writer.record());
      for (const record of records) {
        const read = now.read.bind(now);
        const check = await checkWrites(record, read, { before: before.read.bind(before), list: 5 });
        acknowledged += check.acknowledged;
        lost += check.lostCount + check.damagedCount;
        found.push(...check.lost.map((block) => `${disk.id}: ${JSON.stringify(block)}`));
      }
      for (let at = 0; at < DISK_SIZE; at += MiB) {
        if (records.some(({ region }) => at >= region.offset && at < region.offset + region.length)) continue;
        if ((await now.read(at, MiB)).equals(await before.read(at, MiB))) continue;
        lost += 1;
        found.push(`${disk.id}: the MiB at ${at}, which nobody writes to, has changed`);
      }
      checks.push({ acknowledged, lost, found });
    }
    const broken = await Promise.all(images.map(async (image) => await this.#damage(image)));
    return checks.map((check, n) => {
      const damage = broken[n];
      if (damage === undefined) return check;
      return { ...check, lost: check.lost + 1, found: [...check.found, damage] };
    });
  }

  /** What `qemu-img check` calls an error. Clusters that leaked are none: that is what a process leaves that was killed. */
  async #damage({ path, format }: ImageToRead): Promise<string | undefined> {
    if (format !== 'qcow2') return undefined;
    const { img, env } = this.#lab.build;
    const args = ['check', '-q', '-U', '-f', format, path];
    const { status, stdout, stderr } = await run(img, args, {
      env: { ...process.env, ...env },
      accept: [0, 1, 2, 3],
    });
    return status === 0 || status === 3 ? undefined : `${path}: qemu-img check ends with ${status}: ${stdout}${stderr}`;
  }
}

interface Folders {
  readonly source: string;
  readonly target: string;
  readonly pristine: string;
  readonly state: string;
}
