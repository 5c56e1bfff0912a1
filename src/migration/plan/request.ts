/** What a user asks for. Plain data: it is written to the journal. */
export interface MigrationRequest {
  /** Folder on the target storage for every disk that has none of its own. Absolute. */
  readonly to?: string;
  /** The disks that move, by any of their names, each with a folder of its own where given; empty: all that can. */
  readonly disks: readonly { readonly name: string; readonly to?: string }[];
  /** Most bytes per second for copying and verifying together, over all images; 0: no limit. */
  readonly bandwidth: number;
  /** Keep the source images, renamed, instead of removing them. */
  readonly keepSource: boolean;
  /** Leave a symbolic link to the moved image at each old path. */
  readonly leaveLink: boolean;
  /** Merge the overlay into the image below it at the end, so that the chain is as deep as it was. */
  readonly fold: boolean;
  /** Read the copies back from the target and compare them. */
  readonly verify: boolean;
  /** Slow the guest's writes down for the last stretch where its mirrors never catch up with it. Default: false. */
  readonly slowGuest?: boolean;
  /** The longest that the guest's I/O is held at a swap, in milliseconds: then the swap is given up. */
  readonly maxHoldMs?: number;
  /** Mirror through a server that can be cut off from a target that hangs. Default true. */
  readonly mirrorServer?: boolean;
  /** It is a mirrored snapshot: it stands, with its disks mirrored, until its user ends it one way or the other. */
  readonly snapshot?: SnapshotRequest;
}

/** What makes a migration a mirrored snapshot. */
export interface SnapshotRequest {
  readonly name: string;
  /** Its `<domainsnapshot>`, as it is listed while it stands. */
  readonly xml: string;
  /** Overlays and twins are files that the user prepared: they are neither made nor removed. */
  readonly prepared: boolean;
  /** The guest's agent freezes its file systems while it is taken. Default: false. */
  readonly quiesce?: boolean;
}

/** Ten times what a swap takes on a busy machine, and less than a person waits for. */
export const DEFAULT_MAX_HOLD_MS = 2000;

export const DEFAULT_REQUEST: Omit<MigrationRequest, 'to'> = {
  disks: [],
  bandwidth: 0,
  keepSource: false,
  leaveLink: false,
  fold: true,
  verify: true,
};
