import { type Clock, isFerryError } from '../../base/index.ts';
import {
  currentSnapshot,
  deleteSnapshot,
  findSnapshot,
  formatSnapshot,
  type ListFlag,
  listSnapshots,
  loadSnapshotSchema,
  parentLinks,
  parseSnapshot,
  pathOf,
  redefineSnapshot,
  type Snapshot,
} from '../../domainsnapshot/index.ts';
import type { Journal, SnapshotOwner } from '../../journal/index.ts';
import { type MigrationDeps, type MigrationEvent, recoverOffline } from '../../migration/index.ts';
import type { VirtualMachine } from '../../vm/index.ts';
import type { CreateFlag, DeleteFlag, MirrorState, SnapshotDomain } from '../snapshot-driver.ts';
import { refusal } from '../snapshot-error.ts';
import { checkFlags, checkName } from './create-flags.ts';
import { describeDomain } from './domain-description.ts';
import { type KeptSnapshots, keptSnapshots, listOf, recordsOf, type Standing } from './kept-list.ts';
import { alignMirrored, checkMirrored, mirrorFiles } from './mirror-request.ts';
import { type DiskMirrors, diskMirrors, mirrorState } from './mirror-state.ts';
import { beginMirrored, endMirrored } from './mirrored-snapshot.ts';
import { REGULAR_FILES } from './regular-files.ts';

/** A running VM, as far as this room needs it. */
export interface KeptVm {
  /** Connects to its monitor; undefined when the VM does not run. */
  connect(): Promise<(VirtualMachine & AsyncDisposable) | undefined>;
  /** Whether the QEMU process, known as in the journal, still runs. */
  processExists(process: string): Promise<boolean>;
}

/** What stands behind a domain whose snapshots blockferry keeps itself. */
export interface KeptDomainDeps {
  readonly owner: SnapshotOwner;
  readonly vm: KeptVm;
  /** Opens the journal; only for looking where nothing is changed. */
  readonly openJournal: (use: 'look' | 'change') => Journal;
  readonly clock: Clock;
  readonly onEvent?: (event: MigrationEvent) => void;
}

/**
 * A VM that blockferry drives over QMP. Nobody else keeps snapshots of it, so blockferry does: metadata in the journal,
 * mirrored ones as migrations that their user ends.
 */
export class KeptDomain implements SnapshotDomain {
  readonly name: string;
  readonly #deps: KeptDomainDeps;

  constructor(deps: KeptDomainDeps) {
    this.name = deps.owner.name;
    this.#deps = deps;
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
    const redefine = flags.includes('REDEFINE');
    const { snapshot } = parseSnapshot(xml, {
      flags: ['MIRROR', 'TYPED_MIRROR', ...(redefine ? (['REDEFINE'] as const) : []), ...validation(flags)],
      ...(flags.includes('VALIDATE') ? { schema: loadSnapshotSchema({ mirror: 'typed' }) } : {}),
    });
    const name = snapshot.name ?? '';
    checkName(name);
    using journal = this.#deps.openJournal('change');
    this.#refuseWhileMirrored(keptSnapshots(journal, this.#deps.owner));
    if (redefine) this.#redefine(journal, snapshot, flags);
    else await this.#createMirrored(journal, snapshot, flags);
    return name;
  }

  list(flags: readonly ListFlag[], from?: string): Promise<readonly string[]> {
    const found = listSnapshots(this.#look().list, { flags, ...(from === undefined ? {} : { from }) });
    return Promise.resolve(found.map(({ name }) => name ?? ''));
  }

  find(name: string): Promise<void> {
    findSnapshot(this.#look().list, name);
    return Promise.resolve();
  }

  hasCurrent(): Promise<boolean> {
    return Promise.resolve(this.#look().list.current !== undefined);
  }

  current(): Promise<string> {
    return Promise.resolve(currentSnapshot(this.#look().list).name ?? '');
  }

  isCurrent(name: string): Promise<boolean> {
    return Promise.resolve(this.#look().list.current === name);
  }

  hasMetadata(): Promise<boolean> {
    return Promise.resolve(true);
  }

  parent(name: string): Promise<string | undefined> {
    const { list } = this.#look();
    findSnapshot(list, name);
    return Promise.resolve(parentLinks(list).get(name));
  }

  async describe(name: string, options: { readonly secure?: boolean } = {}): Promise<string> {
    const { list, standing } = this.#look();
    const found = findSnapshot(list, name);
    const snapshot = standing?.name === name ? withMirrorStates(found, standing, await this.#mirrors(standing)) : found;
    return formatSnapshot(snapshot, {
      flags: options.secure === true ? ['SECURE'] : [],
      domainUuid: this.#deps.owner.uuid,
    });
  }

  async mirror(name: string): Promise<MirrorState | undefined> {
    const { standing } = this.#look();
    if (standing?.name !== name) return undefined;
    return mirrorState(standing, await this.#mirrors(standing));
  }

  async delete(name: string, flags: readonly DeleteFlag[]): Promise<void> {
    using journal = this.#deps.openJournal('change');
    const kept = keptSnapshots(journal, this.#deps.owner);
    findSnapshot(kept.list, name);
    const way = flags.includes('MIRROR_PIVOT') ? 'pivot' : flags.includes('MIRROR_ABORT') ? 'abort' : undefined;
    if (kept.standing?.name === name) return await this.#end(journal, kept.standing, way);
    if (way !== undefined) throw refusal('VIR_ERR_OPERATION_INVALID', `snapshot '${name}' is not mirrored`);
    this.#refuseWhileMirrored(kept);
    if (!flags.includes('METADATA_ONLY')) {
      const text = 'blockferry does not merge the files of snapshots: only their metadata can be deleted (--metadata)';
      throw refusal('VIR_ERR_OPERATION_UNSUPPORTED', text);
    }
    const children = flags.includes('CHILDREN');
    const scope = flags.includes('CHILDREN_ONLY') ? 'children-only' : children ? 'children' : 'one';
    journal.changeSnapshots(this.#deps.owner, (records) => recordsOf(deleteSnapshot(listOf(records), name, scope)));
  }

  revert(): Promise<void> {
    this.#refuseWhileMirrored(this.#look());
    const text = 'a running VM cannot be brought back to a snapshot of its disks over QMP';
    return Promise.reject(refusal('VIR_ERR_OPERATION_UNSUPPORTED', text));
  }

  #look(): KeptSnapshots {
    using journal = this.#deps.openJournal('look');
    return keptSnapshots(journal, this.#deps.owner);
  }

  async #mirrors(standing: Standing): Promise<DiskMirrors> {
    using journal = this.#deps.openJournal('look');
    await using vm = await this.#connectToLook(standing);
    const same = vm?.identity.process === standing.row.vm.process;
    return await diskMirrors(standing, journal, same ? vm : undefined);
  }

  /** Whoever sees a migration through holds the VM's monitor. Another who does must not keep a list from being shown. */
  async #connectToLook({ byUser }: Standing): ReturnType<KeptVm['connect']> {
    if (!byUser) return undefined;
    try {
      return await this.#deps.vm.connect();
    } catch (error) {
      if (isFerryError(error) || (error instanceof Error && error.name === 'TimeoutError')) return undefined;
      throw error;
    }
  }

  #refuseWhileMirrored({ standing }: KeptSnapshots): void {
    if (standing === undefined) return;
    const text = `domain '${this.name}' has the mirrored snapshot '${standing.name}': ${howToEnd(standing)}`;
    throw refusal('VIR_ERR_OPERATION_INVALID', text);
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

  async #createMirrored(journal: Journal, snapshot: Snapshot, flags: readonly CreateFlag[]): Promise<void> {
    const name = snapshot.name ?? '';
    if (listOf(journal.snapshots(this.#deps.owner)).snapshots.some((other) => other.name === name)) {
      throw refusal('VIR_ERR_OPERATION_FAILED', `domain moment ${name} already exists`);
    }
    checkMirrored(snapshot, flags);
    await using vm = await this.#deps.vm.connect();
    if (vm === undefined) throw refusal('VIR_ERR_OPERATION_INVALID', 'domain is not running');
    const description = describeDomain(await vm.inventory());
    const aligned = alignMirrored(snapshot, description);
    const { clock, onEvent } = this.#deps;
    const prepared = flags.includes('REUSE_EXT');
    await beginMirrored(
      { vm, journal, clock, ...(onEvent ? { onEvent } : {}) },
      { name, xml: formatSnapshot(aligned, { flags: ['SECURE'] }), prepared },
      mirrorFiles(aligned, description),
    );
  }

  async #end(journal: Journal, standing: Standing, way: 'pivot' | 'abort' | undefined): Promise<void> {
    if (way === undefined || !standing.byUser) {
      throw refusal('VIR_ERR_OPERATION_INVALID', `snapshot '${standing.name}' is mirrored: ${howToEnd(standing)}`);
    }
    const { clock, onEvent } = this.#deps;
    const told = onEvent ? { onEvent } : {};
    if (!(await this.#deps.vm.processExists(standing.row.vm.process))) {
      return await endWithoutVm(journal, standing, way, told);
    }
    await using vm = await this.#deps.vm.connect();
    if (vm === undefined) throw refusal('VIR_ERR_OPERATION_INVALID', 'domain is not running');
    if (way === 'pivot') {
      const { state, advice } = mirrorState(standing, await diskMirrors(standing, journal, vm));
      if (state === 'broken') throw refusal('VIR_ERR_OPERATION_INVALID', advice ?? 'a mirror is broken');
    }
    const outcome = await endMirrored({ vm, journal, clock, ...told }, standing, way);
    if (outcome.kind !== (way === 'pivot' ? 'done' : 'rolled-back')) {
      throw refusal('VIR_ERR_OPERATION_FAILED', outcome.message);
    }
  }
}

/** The VM has ended: there is one way only, and the journal knows which. */
async function endWithoutVm(
  journal: Journal,
  { row, name }: Standing,
  way: 'pivot' | 'abort',
  told: Pick<MigrationDeps, 'onEvent'>,
): Promise<void> {
  const swapped = journal.commitRecord(row.id, 'pivot') !== undefined;
  if (swapped !== (way === 'pivot')) {
    const side = swapped
      ? 'the disks have been swapped: --mirror-pivot'
      : 'the disks have not been swapped: --mirror-abort';
    throw refusal(
      'VIR_ERR_OPERATION_INVALID',
      `the VM of snapshot '${name}' does not run any more, and ${side} ends it`,
    );
  }
  await recoverOffline(row.id, { journal, ...told });
}

function howToEnd({ byUser, row }: Standing): string {
  return byUser
    ? 'give it --mirror-pivot or --mirror-abort'
    : `blockferry sees it through; 'blockferry abort ${row.id}' takes it back`;
}

function validation(flags: readonly CreateFlag[]): 'VALIDATE'[] {
  return flags.includes('VALIDATE') ? ['VALIDATE'] : [];
}

/** Live XML says what the mirrors do; what is stored does not. A broken one says nothing of being ready. */
function withMirrorStates(snapshot: Snapshot, { plan }: Standing, mirrors: DiskMirrors): Snapshot {
  const bySource = new Map(plan.disks.map(({ id, sourceOverlay }) => [sourceOverlay, mirrors.get(id)]));
  return {
    ...snapshot,
    disks: snapshot.disks.map((disk) => {
      if (disk.mirror === undefined) return disk;
      const state = bySource.get(pathOf(disk.source) ?? '');
      const ready = state === 'yes' || state === 'pivot' ? { ready: state } : {};
      return { ...disk, mirror: { ...disk.mirror, format: 'qcow2', job: 'copy', ...ready } };
    }),
  };
}
