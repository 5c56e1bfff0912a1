import { formatSnapshot, type ListFlag, listSnapshots, summarizeSnapshot } from '../../domainsnapshot/index.ts';
import type { Journal } from '../../journal/index.ts';
import { checkFlags, checkName } from '../kept/create-flags.ts';
import { snapshotOf, type Standing } from '../kept/kept-list.ts';
import { type KeeperDeps, MirrorKeeper } from '../kept/mirror-keeper.ts';
import { parseMirrored } from '../kept/mirror-request.ts';
import {
  type CreateFlag,
  type DeleteFlag,
  libvirtCodeOf,
  type MirrorState,
  type RevertFlag,
  type SnapshotDomain,
} from '../snapshot-driver.ts';
import { refusal } from '../snapshot-error.ts';
import type { LibvirtDomain } from './libvirt-domain.ts';

/**
 * A domain of libvirt with the mirrored snapshot that libvirt knows nothing of, and that blockferry keeps: it is one among
 * libvirt's own, and the current one. While it stands no other one is taken, reverted to or deleted.
 */
export class MirroredDomain implements SnapshotDomain {
  readonly name: string;
  readonly #domain: LibvirtDomain;
  readonly #mirrors: MirrorKeeper;
  readonly #openJournal: (use: 'look' | 'change') => Journal;

  constructor(domain: LibvirtDomain, deps: KeeperDeps) {
    this.name = domain.name;
    this.#domain = domain;
    this.#mirrors = new MirrorKeeper(deps);
    this.#openJournal = deps.openJournal;
  }

  async isActive(): Promise<boolean> {
    return await this.#domain.isActive();
  }

  async isPersistent(): Promise<boolean> {
    return await this.#domain.isPersistent();
  }

  async destroy(): Promise<void> {
    await this.#domain.destroy();
  }

  async create(xml: string, flags: readonly CreateFlag[]): Promise<string> {
    await this.#mirrors.thaw();
    this.#mirrors.refuseWhile(this.#mirrors.standing());
    if (flags.includes('REDEFINE') || !asksForMirrors(xml)) return await this.#domain.create(xml, flags);
    checkFlags(flags);
    const snapshot = parseMirrored(xml, flags);
    const name = snapshot.name ?? '';
    checkName(name);
    if (await this.#libvirtHas(name)) {
      throw refusal('VIR_ERR_OPERATION_FAILED', `domain moment ${name} already exists`);
    }
    using journal = this.#openJournal('change');
    await this.#mirrors.create(journal, snapshot, flags);
    return name;
  }

  async list(flags: readonly ListFlag[], from?: string): Promise<readonly string[]> {
    await this.#mirrors.thaw();
    const standing = this.#mirrors.standing();
    if (standing === undefined) return await this.#domain.list(flags, from);
    if (from === standing.name) return [];
    const own = listSnapshots({ snapshots: [snapshotOf(standing)], current: standing.name }, { flags });
    const names = await this.#domain.list(flags, from);
    return from === undefined ? [...names, ...own.map(({ name }) => name ?? '')] : names;
  }

  async find(name: string): Promise<void> {
    if (this.#standing(name) === undefined) await this.#domain.find(name);
  }

  async hasCurrent(): Promise<boolean> {
    return this.#mirrors.standing() !== undefined || (await this.#domain.hasCurrent());
  }

  async current(): Promise<string> {
    return this.#mirrors.standing()?.name ?? (await this.#domain.current());
  }

  async isCurrent(name: string): Promise<boolean> {
    const standing = this.#mirrors.standing();
    return standing === undefined ? await this.#domain.isCurrent(name) : standing.name === name;
  }

  async hasMetadata(name: string): Promise<boolean> {
    return this.#standing(name) !== undefined || (await this.#domain.hasMetadata(name));
  }

  async parent(name: string): Promise<string | undefined> {
    return this.#standing(name) === undefined ? await this.#domain.parent(name) : undefined;
  }

  async describe(name: string, options: { readonly secure?: boolean } = {}): Promise<string> {
    const standing = this.#standing(name);
    if (standing === undefined) return await this.#domain.describe(name, options);
    return formatSnapshot(await this.#mirrors.live(snapshotOf(standing), standing), {
      flags: options.secure === true ? ['SECURE'] : [],
      domainUuid: standing.row.vm.uuid,
    });
  }

  async mirror(name: string): Promise<MirrorState | undefined> {
    const standing = this.#standing(name);
    return standing && (await this.#mirrors.state(standing));
  }

  async delete(name: string, flags: readonly DeleteFlag[]): Promise<void> {
    await this.#mirrors.thaw();
    const standing = this.#mirrors.standing();
    if (standing?.name === name) {
      using journal = this.#openJournal('change');
      return await this.#mirrors.end(journal, standing, flags);
    }
    await this.#domain.find(name);
    this.#mirrors.refuseWhile(standing);
    return await this.#domain.delete(name, flags);
  }

  async revert(name: string, flags: readonly RevertFlag[]): Promise<void> {
    this.#mirrors.refuseWhile(this.#mirrors.standing());
    await this.#domain.revert(name, flags);
  }

  #standing(name: string): Standing | undefined {
    const standing = this.#mirrors.standing();
    return standing?.name === name ? standing : undefined;
  }

  async #libvirtHas(name: string): Promise<boolean> {
    try {
      await this.#domain.find(name);
      return true;
    } catch (error) {
      if (libvirtCodeOf(error) === 'VIR_ERR_NO_DOMAIN_SNAPSHOT') return false;
      throw error;
    }
  }
}

function asksForMirrors(xml: string): boolean {
  try {
    return summarizeSnapshot(xml).mirrored.length > 0;
  } catch {
    // It is not well-formed: libvirt says so in its own words.
    return false;
  }
}
