import type { XmlElement } from '../xml/tree.ts';
import { type BlockSource, type FileSource, type NetworkSource, pathOf, type StorageSource } from './source.ts';
import type { SnapshotLocation, SnapshotState } from './values.ts';

/**
 * The twin of a disk's new file on other storage: while the snapshot exists, every guest write goes to both.
 *
 * The one-line form of 2012, `<mirror file='…'/>`, is a file source and nothing else; the format is then the disk's.
 */
export interface Mirror {
  readonly target: FileSource | BlockSource | NetworkSource;
  /** Only where it is said; absent = the format of the disk. */
  readonly format?: string;
  /** What the mirror is for; printed for a live snapshot, read when redefining. Absent = `copy`. */
  readonly job?: 'copy' | 'active-commit';
  /** `yes`: both sides are equal; `abort`, `pivot`: it is being ended. Absent = still copying. */
  readonly ready?: 'yes' | 'abort' | 'pivot';
}

/** One `<disk>` of a snapshot. */
export interface SnapshotDisk {
  /** The domain disk's target (`vda`) or, before align, the path of its source. */
  readonly name: string;
  /** Absent = not decided yet; align fills it in. */
  readonly location?: SnapshotLocation;
  /** The new file, device or export that is to take the writes. Always there; its path may be absent. */
  readonly source: StorageSource;
  /** Format of the new file: one of `DISK_FORMATS` (any text in the 2012 profile). */
  readonly format?: string;
  /** Bytes of qcow2's metadata cache; absent = the default. */
  readonly metadataCacheSize?: bigint;
  /** The snapshot is being deleted, and this disk with it. */
  readonly deleteInProgress?: boolean;
  readonly mirror?: Mirror;
}

/** What happens to the guest's memory. */
export interface SnapshotMemory {
  readonly location: 'no' | 'internal' | 'external';
  /** Absolute path; there exactly when the location is external. */
  readonly file?: string;
}

/** A snapshot: everything that a `<domainsnapshot>` says (`virDomainSnapshotDef`). */
export interface Snapshot {
  /** Absent only when nothing gave a name, not even the clock. */
  readonly name?: string;
  readonly description?: string;
  readonly parent?: string;
  /** Seconds since 1970, signed 64 bit. Absent = not known (libvirt's 0). */
  readonly creationTime?: bigint;
  readonly state?: SnapshotState;
  readonly memory?: SnapshotMemory;
  readonly disks: readonly SnapshotDisk[];
  /** Disks made by reverting to an external snapshot, by libvirts younger than 9.0. Kept so that newer metadata survives. */
  readonly revertDisks?: readonly SnapshotDisk[];
  /** The full domain at the time of the snapshot. */
  readonly domain?: XmlElement;
  /** The persistent definition beside a running domain. */
  readonly inactiveDomain?: XmlElement;
  /** The hypervisor's own notes. */
  readonly cookie?: XmlElement;
}

/** A snapshot is external if its memory or any of its disks is; otherwise it is internal, also without any disk. */
export function isExternal(snapshot: Snapshot): boolean {
  return snapshot.memory?.location === 'external' || snapshot.disks.some((disk) => disk.location === 'external');
}

/** Whether a disk says what to write to, so that libvirt prints its source and takes an unset location for external. */
export function hasPathOrFormat(disk: Pick<SnapshotDisk, 'source' | 'format'>): boolean {
  return pathOf(disk.source) !== undefined || disk.format !== undefined;
}
