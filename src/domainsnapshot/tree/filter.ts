import { isExternal, type Snapshot } from '../model/snapshot.ts';
import { childrenOf, descendantsOf, findSnapshot, nameOf, parentLinks, type SnapshotList } from './list.ts';

/**
 * The flags of libvirt's list calls (`VIR_DOMAIN_SNAPSHOT_LIST_…`). `ROOTS` is for a whole list and `DESCENDANTS` for
 * what is below one snapshot.
 */
export type ListFlag =
  | 'ROOTS'
  | 'DESCENDANTS'
  | 'METADATA'
  | 'LEAVES'
  | 'NO_LEAVES'
  | 'NO_METADATA'
  | 'INACTIVE'
  | 'ACTIVE'
  | 'DISK_ONLY'
  | 'INTERNAL'
  | 'EXTERNAL'
  | 'TOPOLOGICAL';

/** Which snapshots are listed. */
export interface ListOptions {
  /** Only what is below this snapshot: its children, or with `DESCENDANTS` all. */
  readonly from?: string;
  readonly flags?: readonly ListFlag[];
}

function kindOf(snapshot: Snapshot): 'INACTIVE' | 'ACTIVE' | 'DISK_ONLY' {
  if (snapshot.state === 'shutoff') return 'INACTIVE';
  return snapshot.state === 'disk-snapshot' ? 'DISK_ONLY' : 'ACTIVE';
}

/** Flags of one group: with none of them nothing is filtered, else what matches one of them stays. */
function passes(flags: ReadonlySet<ListFlag>, group: readonly ListFlag[], own: ListFlag): boolean {
  return !group.some((flag) => flags.has(flag)) || flags.has(own);
}

function select(list: SnapshotList, options: ListOptions, flags: ReadonlySet<ListFlag>): readonly Snapshot[] {
  if (options.from !== undefined) {
    findSnapshot(list, options.from);
    return flags.has('DESCENDANTS') ? descendantsOf(list, options.from) : childrenOf(list, options.from);
  }
  if (flags.has('ROOTS')) return childrenOf(list, undefined);
  return flags.has('TOPOLOGICAL') ? descendantsOf(list, undefined) : list.snapshots;
}

/**
 * The snapshots that libvirt would list. With `TOPOLOGICAL` parents come before children; otherwise the order is the
 * list's. As in libvirt, `LEAVES` and `NO_LEAVES` together leave nothing, although its manual says that they cancel out;
 * every snapshot has metadata, so `NO_METADATA` alone leaves nothing either.
 *
 * @throws DomainSnapshotError VIR_ERR_NO_DOMAIN_SNAPSHOT: there is no snapshot `from`.
 */
export function listSnapshots(list: SnapshotList, options: ListOptions = {}): readonly Snapshot[] {
  const flags = new Set(options.flags);
  if (flags.has('NO_METADATA') && !flags.has('METADATA')) return [];
  const parents = new Set(parentLinks(list).values());
  return select(list, options, flags).filter((snapshot) => {
    const leaf = !parents.has(nameOf(snapshot));
    return (
      (!flags.has('LEAVES') || leaf) &&
      (!flags.has('NO_LEAVES') || !leaf) &&
      passes(flags, ['INACTIVE', 'ACTIVE', 'DISK_ONLY'], kindOf(snapshot)) &&
      passes(flags, ['INTERNAL', 'EXTERNAL'], isExternal(snapshot) ? 'EXTERNAL' : 'INTERNAL')
    );
  });
}
