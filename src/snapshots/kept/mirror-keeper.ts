import { type Clock, isFerryError } from '../../base/index.ts';
import { formatSnapshot, pathOf, type Snapshot } from '../../domainsnapshot/index.ts';
import type { Journal, SnapshotOwner } from '../../journal/index.ts';
import {
  mayBeFrozen,
  Migration,
  type MigrationDeps,
  type MigrationEvent,
  type OfflineDeps,
  recoverOffline,
} from '../../migration/index.ts';
import type { Inventory, VirtualMachine } from '../../vm/index.ts';
import type { CreateFlag, DeleteFlag, MirrorState } from '../snapshot-driver.ts';
import { refusal } from '../snapshot-error.ts';
import { describeDomain, type DomainDescription } from './domain-description.ts';
import { checkAgent } from './guest-agent.ts';
import { standingOf, type Standing } from './kept-list.ts';
import { alignMirrored, checkMirrored, mirrorFiles } from './mirror-request.ts';
import { type DiskMirrors, diskMirrors, mirrorState } from './mirror-state.ts';
import { beginMirrored, endMirrored } from './mirrored-snapshot.ts';

/** A running VM, as far as this room needs it. */
export interface KeptVm {
  /** Connects to it; undefined when the VM does not run. */
  connect(): Promise<(VirtualMachine & AsyncDisposable) | undefined>;
  /** Whether the QEMU process, known as in the journal, still runs. */
  processExists(process: string): Promise<boolean>;
  /** Its `<domain>`, and which disk is which in it. Default: made from what QEMU says. */
  describe?(inventory: Inventory): Promise<DomainDescription>;
  /**
   * The images below each disk's mirror, from the top, as whoever manages the VM is going to open them. Default: what the
   * headers say at the pivot.
   */
  mirrorChains?(): Promise<ReadonlyMap<string, readonly string[]>>;
  /** Who keeps its definition when it has ended, where somebody does. */
  readonly manager?: OfflineDeps['manager'];
}

/** What stands behind a VM whose mirrored snapshots blockferry keeps. */
export interface KeeperDeps {
  readonly owner: SnapshotOwner;
  readonly vm: KeptVm;
  /** Opens the journal; only for looking where nothing is changed. */
  readonly openJournal: (use: 'look' | 'change') => Journal;
  readonly clock: Clock;
  readonly onEvent?: (event: MigrationEvent) => void;
}

/**
 * The mirrored snapshot of a VM, of which there is one or none: a migration that its user ends. Whoever keeps the VM's other
 * snapshots, blockferry keeps this one, in its journal.
 */
export class MirrorKeeper {
  readonly #deps: KeeperDeps;

  constructor(deps: KeeperDeps) {
    this.#deps = deps;
  }

  standing(): Standing | undefined {
    using journal = this.#deps.openJournal('look');
    return standingOf(journal, this.#deps.owner);
  }

  /** Thaws a guest that may be frozen since whoever took the snapshot died. What comes of it is told as an event. */
  async thaw(): Promise<void> {
    const { clock, onEvent, openJournal } = this.#deps;
    const frozen = this.#frozen();
    if (frozen === undefined) return;
    // Whoever is taking it has the VM's monitor.
    await using vm = await this.#connectToLook(frozen);
    if (vm === undefined) return;
    using journal = openJournal('change');
    try {
      await using _ = await Migration.takeOver(frozen.row.id, { vm, journal, clock, ...(onEvent && { onEvent }) });
    } catch (error) {
      // It is being taken, or its QEMU is gone, and with that what was frozen.
      if (!isFerryError(error, 'MIGRATION_OWNED', 'MIGRATION_FINISHED', 'VM_REPLACED')) throw error;
    }
  }

  #frozen(): Standing | undefined {
    using journal = this.#deps.openJournal('look');
    const standing = standingOf(journal, this.#deps.owner);
    return standing && mayBeFrozen(journal, standing.row.id) ? standing : undefined;
  }

  /** @throws SnapshotError VIR_ERR_OPERATION_INVALID while one stands */
  refuseWhile(standing: Standing | undefined): void {
    if (standing === undefined) return;
    const { name } = this.#deps.owner;
    const text = `domain '${name}' has the mirrored snapshot '${standing.name}': ${howToEnd(standing)}`;
    throw refusal('VIR_ERR_OPERATION_INVALID', text);
  }

  /** Live: with what the mirrors do now. */
  async live(snapshot: Snapshot, standing: Standing): Promise<Snapshot> {
    return withMirrorStates(snapshot, standing, await this.#mirrors(standing));
  }

  async state(standing: Standing): Promise<MirrorState> {
    return mirrorState(standing, await this.#mirrors(standing));
  }

  /** @throws SnapshotError, DomainSnapshotError; FerryError PLAN_REFUSED. Nothing is left of it then */
  async create(journal: Journal, snapshot: Snapshot, flags: readonly CreateFlag[]): Promise<void> {
    checkMirrored(snapshot, flags);
    const { vm: kept, clock, onEvent } = this.#deps;
    await using vm = await kept.connect();
    if (vm === undefined) throw refusal('VIR_ERR_OPERATION_INVALID', 'domain is not running');
    const inventory = await vm.inventory();
    const description = (await kept.describe?.(inventory)) ?? describeDomain(inventory);
    const aligned = alignMirrored(snapshot, description);
    const quiesce = flags.includes('QUIESCE');
    if (quiesce) await checkAgent(vm);
    await beginMirrored(
      { vm, journal, clock, ...(onEvent ? { onEvent } : {}) },
      {
        name: snapshot.name ?? '',
        xml: formatSnapshot(aligned, { flags: ['SECURE'] }),
        prepared: flags.includes('REUSE_EXT'),
        ...(quiesce && { quiesce }),
      },
      mirrorFiles(aligned, description),
    );
  }

  /**
   * Ends it the way that the flags name.
   * @throws SnapshotError when they name none, or it cannot be ended so; the message says how things stand
   */
  async end(journal: Journal, standing: Standing, flags: readonly DeleteFlag[]): Promise<void> {
    const way = wayOf(flags);
    if (way === undefined || !standing.byUser) {
      throw refusal('VIR_ERR_OPERATION_INVALID', `snapshot '${standing.name}' is mirrored: ${howToEnd(standing)}`);
    }
    const { clock, onEvent, vm: kept } = this.#deps;
    const told = onEvent ? { onEvent } : {};
    if (!(await kept.processExists(standing.row.vm.process))) {
      const { manager } = kept;
      return await endWithoutVm(journal, standing, way, { ...told, ...(manager && { manager }) });
    }
    await using vm = await kept.connect();
    if (vm === undefined) throw refusal('VIR_ERR_OPERATION_INVALID', 'domain is not running');
    const mirrors = await diskMirrors(standing, journal, vm);
    if (way === 'pivot' || [...mirrors.values()].includes('moved')) {
      const { state, advice } = mirrorState(standing, mirrors);
      if (state === 'broken') throw refusal('VIR_ERR_OPERATION_INVALID', advice ?? 'a mirror is broken');
    }
    const chains = way === 'pivot' ? await kept.mirrorChains?.() : undefined;
    const outcome = await endMirrored({ vm, journal, clock, ...told }, standing, way, chains);
    if (outcome.kind !== (way === 'pivot' ? 'done' : 'rolled-back')) {
      throw refusal('VIR_ERR_OPERATION_FAILED', outcome.message);
    }
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
}

/** The way to end a mirrored snapshot that the flags name. */
export function wayOf(flags: readonly DeleteFlag[]): 'pivot' | 'abort' | undefined {
  return flags.includes('MIRROR_PIVOT') ? 'pivot' : flags.includes('MIRROR_ABORT') ? 'abort' : undefined;
}

/** The VM has ended: there is one way only, and the journal knows which. */
async function endWithoutVm(
  journal: Journal,
  { row, name }: Standing,
  way: 'pivot' | 'abort',
  told: Pick<MigrationDeps, 'onEvent'> & Pick<OfflineDeps, 'manager'>,
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
