import type { Owner } from '../../image/index.ts';
import type { VmIdentity, NodeSettings } from '../../vm/index.ts';
import type { MigrationRequest } from './request.ts';

/** One immutable image and where its copy goes. Copied once, however many disks stand on it. Sizes in bytes. */
export interface PlannedCopy {
  /** The file itself: symbolic links followed. */
  readonly source: string;
  readonly target: string;
  readonly format: 'raw' | 'qcow2';
  /** What the source occupies on its storage. */
  readonly allocated: number;
  readonly fileSize: number;
  readonly owner: Owner;
  /** The image below it on the target: the name to write into its header, and its format. */
  readonly backing?: { readonly name: string; readonly format: 'raw' | 'qcow2' };
  /** Disks whose chain it is part of. */
  readonly disks: readonly string[];
}

/** What becomes of a source file after the swap. */
export interface SourceFile {
  /** The path as the VM names it. */
  readonly path: string;
  /** The file itself: symbolic links followed. */
  readonly realPath: string;
  readonly dev: string;
  readonly ino: string;
  readonly action: 'remove' | 'rename' | 'keep';
  /** The new name, for `rename`. */
  readonly renameTo?: string;
  /** Why it stays, for `keep`. */
  readonly reason?: string;
  /** What a symbolic link at `path` is to point to, where one is asked for. */
  readonly link?: string;
}

/** One disk of the group. Every name of a file, node or job that will be made is fixed here. */
export interface PlannedDisk {
  readonly id: string;
  /** Size that the guest sees, in bytes. */
  readonly size: number;
  readonly folder: string;
  /** The image that is active now. */
  readonly active: {
    readonly node: string;
    readonly path: string;
    readonly realPath: string;
    readonly format: 'raw' | 'qcow2';
  };
  /** Images below the active one. */
  readonly depth: number;
  /** The active image's copy. */
  readonly target: string;
  readonly sourceOverlay: string;
  readonly targetOverlay: string;
  readonly owner: Owner;
  readonly settings: NodeSettings;
  readonly nodes: {
    /** Source overlay. */
    readonly source: string;
    readonly sourceFile: string;
    /** Target overlay. */
    readonly mirror: string;
    readonly mirrorFile: string;
    /** Top of the chain on the target. */
    readonly base: string;
  };
  readonly jobs: { readonly mirror: string; readonly fold: string; readonly foldBack: string };
  /** The VM's own nodes of this disk's old chain, in the order in which they can be closed after the swap. */
  readonly oldNodes: readonly string[];
}

/** A file system that takes part. Sizes in bytes. */
export interface PlannedStorage {
  readonly folder: string;
  readonly device: string;
  readonly role: 'source' | 'target' | 'both';
  readonly free: number;
  /** What the migration will need at most, by the estimate. */
  readonly needed: number;
  /** The migration stops and rolls back when less than this is free. */
  readonly reserve: number;
}

/** An empty image that stands where the user of a mirrored snapshot is going to put a copy. */
export interface PlannedPlaceholder {
  readonly path: string;
  /** Bytes that a guest sees. */
  readonly size: number;
  readonly owner: Owner;
  /** What the header of the image that will be copied here names below it. */
  readonly backing?: { readonly name: string; readonly format: string };
}

/** Everything that a migration will do. Plain data: it is written to the journal before anything is touched. */
export interface MigrationPlan {
  readonly version: 1;
  readonly id: string;
  readonly vm: VmIdentity;
  readonly request: MigrationRequest;
  readonly disks: readonly PlannedDisk[];
  /** In the order in which they are copied: bases first. */
  readonly copies: readonly PlannedCopy[];
  /** Of a mirrored snapshot that is being ended: the images that its user has copied, with symbolic links followed. */
  readonly copiedByUser?: readonly string[];
  /**
   * Of a mirrored snapshot where whoever manages the VM looks at the target's chain before its user has copied it: libvirt
   * labels every image of it when a mirror starts, and opens them when it pivots.
   */
  readonly placeholders?: readonly PlannedPlaceholder[];
  readonly sourceFiles: readonly SourceFile[];
  /**
   * The VM is suspended for the swap, and its disks go over one by one meanwhile; the chain has to be on the target before
   * the mirrors start. So it is with libvirt. Default: they start first, and go over together.
   */
  readonly suspendedSwap?: boolean;
  /** Drives that stay where they are, and why. */
  readonly left: readonly { readonly disk: string; readonly reason: string }[];
  readonly storages: readonly PlannedStorage[];
  readonly notes: readonly string[];
  readonly estimate: {
    readonly copyBytes: number;
    /** Bytes per second that the guest writes now, over the disks that move. */
    readonly writeRate: number;
    readonly seconds: number;
    /** How long the guest's I/O will be held at the swap, in milliseconds. */
    readonly holdMs: number;
  };
}
