import {
  formatSnapshot,
  loadSnapshots,
  parseSnapshot,
  type ParseFlag,
  type Snapshot,
  type SnapshotList,
} from '../../domainsnapshot/index.ts';
import type { Journal, Migration as JournalRow, SnapshotOwner, SnapshotRecord } from '../../journal/index.ts';
import type { MigrationPlan } from '../../migration/index.ts';

const STORED: readonly ParseFlag[] = ['REDEFINE', 'MIRROR', 'TYPED_MIRROR'];

/** A mirrored snapshot that stands: a migration that is not over, with its plan. */
export interface Standing {
  readonly row: JournalRow;
  readonly plan: MigrationPlan;
  readonly name: string;
  /** The user ends it; otherwise blockferry sees it through. */
  readonly byUser: boolean;
}

/** What is known of a VM's snapshots. */
export interface KeptSnapshots {
  readonly list: SnapshotList;
  readonly standing?: Standing;
}

/** The snapshots of stored records. */
export function listOf(records: readonly SnapshotRecord[]): SnapshotList {
  return loadSnapshots(records.map(({ xml, current }) => ({ snapshot: storedSnapshot(xml), current }))).list;
}

/** Records as they are stored. Secrets are kept. */
export function recordsOf({ snapshots, current }: SnapshotList): readonly SnapshotRecord[] {
  return snapshots.map((snapshot) => {
    const name = snapshot.name ?? '';
    return { name, xml: storedXml(snapshot), current: name === current };
  });
}

/** A time that is not known is not written, but reading stored metadata asks for one. */
function storedXml(snapshot: Snapshot): string {
  const xml = formatSnapshot(snapshot, { flags: ['SECURE'] });
  if (snapshot.creationTime !== undefined) return xml;
  return xml.replace(/<\/domainsnapshot>\n$/, '  <creationTime>0</creationTime>\n</domainsnapshot>\n');
}

/** The VM's unfinished migration, where it has one. */
export function standingOf(journal: Journal, vm: SnapshotOwner): Standing | undefined {
  const rows = journal.migrations({ unfinished: true });
  const row = rows.find(({ vm: other }) => (vm.uuid === '' ? other.name === vm.name : other.uuid === vm.uuid));
  if (row === undefined) return undefined;
  const plan = row.plan as MigrationPlan;
  const { snapshot } = plan.request;
  return { row, plan, name: snapshot?.name ?? `blockferry-${row.id}`, byUser: snapshot !== undefined };
}

/**
 * All snapshots of a VM: those that are stored, and the mirrored one that stands. That is the current one, below the one
 * that was current when it was taken.
 */
export function keptSnapshots(journal: Journal, vm: SnapshotOwner): KeptSnapshots {
  const list = listOf(journal.snapshots(vm));
  const standing = standingOf(journal, vm);
  if (standing === undefined) return { list };
  return { list: withTaken(list, snapshotOf(standing)), standing };
}

/** A list with one more snapshot: the current one, below the one that was current before. */
export function withTaken(list: SnapshotList, snapshot: Snapshot): SnapshotList {
  const { parent: _parent, ...root } = snapshot;
  const placed = list.current === undefined ? root : { ...root, parent: list.current };
  return { snapshots: [...list.snapshots, placed], ...(snapshot.name !== undefined && { current: snapshot.name }) };
}

/** A snapshot as it is kept. */
export function storedSnapshot(xml: string): Snapshot {
  return parseSnapshot(xml, { flags: STORED }).snapshot;
}

/** The mirrored snapshot that stands; a migration that blockferry sees through, as the one that it is. */
export function snapshotOf({ plan, row, name }: Standing): Snapshot {
  const { snapshot } = plan.request;
  if (snapshot !== undefined) return storedSnapshot(snapshot.xml);
  return {
    name,
    description: `a migration by blockferry: see 'blockferry status ${row.id}'`,
    creationTime: BigInt(Math.floor(row.createdAt / 1000)),
    state: 'disk-snapshot',
    memory: { location: 'no' },
    disks: plan.disks.map(({ id, sourceOverlay, targetOverlay }) => ({
      name: id,
      location: 'external',
      format: 'qcow2',
      source: { type: 'file', path: sourceOverlay },
      mirror: { target: { type: 'file', path: targetOverlay } },
    })),
  };
}
