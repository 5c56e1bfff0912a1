import { ferryError } from '../../base/index.ts';
import {
  currentSnapshot,
  deleteSnapshot,
  findSnapshot,
  formatSnapshot,
  type ListFlag,
  listSnapshots,
  parentLinks,
  redefineSnapshot,
  type Snapshot,
} from '../../domainsnapshot/index.ts';
import type { Journal } from '../../journal/index.ts';
import type { CreateFlag, DeleteFlag, MirrorState, SnapshotDomain } from '../snapshot-driver.ts';
import { refusal } from '../snapshot-error.ts';
import { checkFlags, checkName } from './create-flags.ts';
import { DiskKeeper } from './disk-keeper.ts';
import { type KeptSnapshots, keptSnapshots, listOf, recordsOf } from './kept-list.ts';
import { type KeeperDeps, MirrorKeeper, wayOf } from './mirror-keeper.ts';
import { parseMirrored } from './mirror-request.ts';
import { REGULAR_FILES } from './regular-files.ts';

/**
 * A VM that blockferry drives over QMP. Nobody else keeps snapshots of it, so blockferry does: metadata in the journal,
 * mirrored ones as migrations that their user ends. Whatever is asked, it is found out first what became of a snapshot whose
 * taker died.
 */
export class KeptDomain implements SnapshotDomain {
  readonly name: string;
  readonly #deps: KeeperDeps;
  readonly #mirrors: MirrorKeeper;
  readonly #disks: DiskKeeper;

  constructor(deps: KeeperDeps) {
    this.name = deps.owner.name;
    this.#deps = deps;
    this.#mirrors = new MirrorKeeper(deps);
    this.#disks = new DiskKeeper(deps);
  }

  async isActive(): Promise<boolean> {
    await using vm = await this.#deps.vm.connect();
    return vm !== undefined;
  }

  /** Nobody has its definition. */
  isPersistent(): Promise<boolean> {
    return Promise.resolve(false);
  }

  destroy(): Promise<void> {
    return Promise.reject(refusal('VIR_ERR_OPERATION_UNSUPPORTED', 'blockferry does not stop VMs'));
  }

  async create(xml: string, flags: readonly CreateFlag[]): Promise<string> {
    checkFlags(flags);
    const snapshot = parseMirrored(xml, flags);
    const name = snapshot.name ?? '';
    checkName(name);
    await this.#settle();
    using journal = this.#deps.openJournal('change');
    this.#mirrors.refuseWhile(keptSnapshots(journal, this.#deps.owner).standing);
    const [beingTaken] = journal.snapshotIntents(this.#deps.owner);
    if (beingTaken) throw ferryError('SNAPSHOT_UNFINISHED', { vm: this.name, snapshot: beingTaken.name });
    if (flags.includes('REDEFINE')) this.#redefine(journal, snapshot, flags);
    else await this.#take(journal, snapshot, flags);
    return name;
  }

  async list(flags: readonly ListFlag[], from?: string): Promise<readonly string[]> {
    const { list } = await this.#look();
    return listSnapshots(list, { flags, ...(from === undefined ? {} : { from }) }).map(({ name }) => name ?? '');
  }

  async find(name: string): Promise<void> {
    findSnapshot((await this.#look()).list, name);
  }

  async hasCurrent(): Promise<boolean> {
    return (await this.#look()).list.current !== undefined;
  }

  async current(): Promise<string> {
    return currentSnapshot((await this.#look()).list).name ?? '';
  }

  async isCurrent(name: string): Promise<boolean> {
    return (await this.#look()).list.current === name;
  }

  hasMetadata(): Promise<boolean> {
    return Promise.resolve(true);
  }

  async parent(name: string): Promise<string | undefined> {
    const { list } = await this.#look();
    findSnapshot(list, name);
    return parentLinks(list).get(name);
  }

  async describe(name: string, options: { readonly secure?: boolean } = {}): Promise<string> {
    const { list, standing } = await this.#look();
    const found = findSnapshot(list, name);
    const snapshot = standing?.name === name ? await this.#mirrors.live(found, standing) : found;
    return formatSnapshot(snapshot, {
      flags: options.secure === true ? ['SECURE'] : [],
      domainUuid: this.#deps.owner.uuid,
    });
  }

  async mirror(name: string): Promise<MirrorState | undefined> {
    const { standing } = await this.#look();
    return standing?.name === name ? await this.#mirrors.state(standing) : undefined;
  }

  async delete(name: string, flags: readonly DeleteFlag[]): Promise<void> {
    await this.#settle();
    using journal = this.#deps.openJournal('change');
    const { list, standing } = keptSnapshots(journal, this.#deps.owner);
    findSnapshot(list, name);
    if (standing?.name === name) return await this.#mirrors.end(journal, standing, flags);
    if (wayOf(flags) !== undefined) throw refusal('VIR_ERR_OPERATION_INVALID', `snapshot '${name}' is not mirrored`);
    this.#mirrors.refuseWhile(standing);
    if (!flags.includes('METADATA_ONLY')) {
      const text = 'blockferry does not merge the files of snapshots: only their metadata can be deleted (--metadata)';
      throw refusal('VIR_ERR_OPERATION_UNSUPPORTED', text);
    }
    const children = flags.includes('CHILDREN');
    const scope = flags.includes('CHILDREN_ONLY') ? 'children-only' : children ? 'children' : 'one';
    journal.changeSnapshots(this.#deps.owner, (records) => recordsOf(deleteSnapshot(listOf(records), name, scope)));
  }

  async revert(): Promise<void> {
    this.#mirrors.refuseWhile((await this.#look()).standing);
    const text = 'a running VM cannot be brought back to a snapshot of its disks over QMP';
    throw refusal('VIR_ERR_OPERATION_UNSUPPORTED', text);
  }

  async #settle(): Promise<void> {
    await this.#mirrors.thaw();
    await this.#disks.settle();
  }

  async #look(): Promise<KeptSnapshots> {
    const { owner, openJournal } = this.#deps;
    await this.#settle();
    using journal = openJournal('look');
    return keptSnapshots(journal, owner);
  }

  #redefine(journal: Journal, snapshot: Snapshot, flags: readonly CreateFlag[]): void {
    const { owner } = this.#deps;
    const options = {
      domainUuid: owner.uuid,
      diskOnly: flags.includes('DISK_ONLY'),
      current: flags.includes('CURRENT'),
      files: REGULAR_FILES,
    };
    journal.changeSnapshots(owner, (records) => recordsOf(redefineSnapshot(listOf(records), snapshot, options)));
  }

  async #take(journal: Journal, snapshot: Snapshot, flags: readonly CreateFlag[]): Promise<void> {
    const name = snapshot.name ?? '';
    if (listOf(journal.snapshots(this.#deps.owner)).snapshots.some((other) => other.name === name)) {
      throw refusal('VIR_ERR_OPERATION_FAILED', `domain moment ${name} already exists`);
    }
    const mirrored = snapshot.disks.some(({ mirror }) => mirror);
    await (mirrored ? this.#mirrors : this.#disks).create(journal, snapshot, flags);
  }
}
