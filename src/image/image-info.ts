/** Who may open a file. Mode holds the permission bits only (`0o777`). */
export interface Owner {
  readonly uid: number;
  readonly gid: number;
  readonly mode: number;
}

/** A persistent dirty bitmap that a qcow2 image carries (QMP `Qcow2BitmapInfo`). */
export interface ImageBitmap {
  readonly name: string;
  /** Bytes per bit. */
  readonly granularity: number;
  /** `auto` (recorded while the image is open for writing), `in-use` (not closed properly). */
  readonly flags: readonly string[];
}

/** The backing image that a header names. */
export interface BackingLink {
  /** The name as the header has it: relative to the folder of the image that names it, absolute, or not a file at all. */
  readonly written: string;
  /** The absolute path that QEMU would open. For a name that is not a file's (`nbd://…`, `json:…`), the name itself. */
  readonly path: string;
  /** The format that the header states; absent when it states none and QEMU would guess. */
  readonly format?: string;
}

/** One image of a chain, as `qemu-img info` and stat(2) tell. All sizes are in bytes. */
export interface ImageInfo {
  /** Absolute, by the name it was asked for; symbolic links are kept. */
  readonly path: string;
  /** The same file with every symbolic link resolved. */
  readonly realPath: string;
  /** `raw`, `qcow2`, or the name of a format that blockferry does not move. */
  readonly format: string;
  /** Whether the VM, the header above or the caller said the format. If not, it is a guess by the first bytes. */
  readonly formatStated: boolean;
  /** Whether it is a block device and not a regular file. */
  readonly blockDevice: boolean;
  /** What a guest sees. */
  readonly virtualSize: number;
  /** The length of the file or of the block device. */
  readonly fileSize: number;
  /** What the file occupies: st_blocks * 512. 0 for a block device. */
  readonly allocated: number;
  readonly clusterSize?: number;
  readonly backing?: BackingLink;
  /** qcow2: `0.10` or `1.1`. */
  readonly compat?: string;
  readonly extendedL2?: boolean;
  readonly encrypted: boolean;
  /** qcow2: the external file that holds the guest's data, as written (empty when the header names none). */
  readonly dataFile?: string;
  readonly bitmaps: readonly ImageBitmap[];
  /** Internal snapshots. */
  readonly snapshotCount: number;
  /** qcow2: QEMU found damage and marked the image; it refuses to write to it. */
  readonly corrupt: boolean;
  /** qcow2: not closed properly, reference counts may be stale (`lazy_refcounts`). */
  readonly dirty: boolean;
  readonly owner: Owner;
  /** Device and inode numbers in decimal (64 bits each): two names with the same pair are the same file. */
  readonly dev: string;
  readonly ino: string;
  /** Hard links. */
  readonly nlink: number;
}

/** A chain of images, the active one first, the base last. */
export type Chain = readonly ImageInfo[];
