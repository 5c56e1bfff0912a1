import type { BlockJob, Disk, Inventory, NodeSettings, VmIdentity } from './inventory.ts';

/** An empty qcow2 file that is to become the active image of a disk, under the node name that it will have. */
export interface OverlayNode {
  readonly disk: string;
  readonly node: string;
  readonly path: string;
  /** The active node that it is put on. */
  readonly base: string;
  readonly settings: NodeSettings;
}

/** The mirror of a disk: the overlay's twin on the target. */
export interface MirrorNode {
  readonly disk: string;
  readonly job: string;
  /** Node of the source overlay. */
  readonly source: string;
  /** Node of the target overlay, to be made. */
  readonly node: string;
  /** Node of its file, to be made: with the mirror, or, where it is served, with the chain that it is put on. */
  readonly fileNode: string;
  /** Where the file is served over NBD; absent: it is opened itself. */
  readonly served?: { readonly socket: string; readonly name: string };
  readonly path: string;
  /** The immutable node below the source overlay: what the mirror is opened on, and never on nothing. */
  readonly base: string;
  readonly settings: NodeSettings;
}

/** The chain of a disk on the target, to be put below its mirror. */
export interface TargetChain {
  readonly mirror: MirrorNode;
  /** The mirror is served: its file is opened as well, to be put in the server's place. */
  readonly openFile: boolean;
  readonly node: string;
  readonly path: string;
  readonly format: string;
}

/** Merging a disk's active overlay into the image below it. */
export interface FoldJob {
  readonly disk: string;
  readonly job: string;
  /** The active overlay: it vanishes. */
  readonly overlay: string;
  /** The image below it: it becomes the active image. */
  readonly base: string;
}

/** How a job stands. All sizes in bytes. */
export interface JobState {
  readonly id: string;
  readonly status: BlockJob['status'];
  /** `ok`, `failed`, `nospace`; undefined where QEMU does not say (the job is over). */
  readonly ioStatus?: string;
  readonly done: number;
  readonly total: number;
  /** What QEMU says of a job that failed. */
  readonly error?: string;
}

/** How many bytes a second a guest may read from and write to a disk; 0: as many as go. */
export interface DiskLimits {
  /** Both together; where it is set, the other two are not. */
  readonly total: number;
  readonly read: number;
  readonly write: number;
}

/** What slows a guest down on a disk. Plain data goes in and out, so that it can be taken back by another process. */
export interface GuestBrake {
  limits(disk: string): Promise<DiskLimits>;
  setLimits(disk: string, limits: DiskLimits): Promise<void>;
}

/** A file that a process has open. */
export interface OpenFile {
  readonly dev: string;
  readonly ino: string;
  readonly path: string;
}

/**
 * A running virtual machine, whoever manages it. What is done to it happens at the level of the group: all disks that
 * move, at once. No method decides anything: names, order and undoing are the migration's.
 *
 * Methods throw FerryError `QMP_COMMAND` when the VM refuses (its state is as before), and `QMP_INTERRUPTED` when the
 * connection is lost (outcome unknown: look at reality).
 */
export interface VirtualMachine extends AsyncDisposable {
  readonly identity: VmIdentity;
  /** Undefined where the guest cannot be slowed down. */
  readonly brake?: GuestBrake;
  /** Whether mirrors can be `served`. */
  readonly takesServed: boolean;

  /** Whether its QEMU is gone: shut down by the guest or by a person, or dead. */
  hasEnded(): Promise<boolean>;
  /** One look at the VM: disks, chains, jobs. */
  inventory(): Promise<Inventory>;
  /** Why the VM's QEMU could not open a file in this folder; undefined when nothing speaks against it. Makes nothing. */
  cannotOpen(folder: string): Promise<string | undefined>;
  /** The node that the disk is attached to now; undefined when the disk is gone or empty. */
  activeNode(disk: string): Promise<string | undefined>;
  /** Which of these nodes exist. */
  existingNodes(names: readonly string[]): Promise<readonly string[]>;

  /**
   * Whether the VM's QEMU itself has this node's file open, whatever who manages it believes: libvirtd that ends while it takes a
   * snapshot does not know of it afterwards. False where this user may not look.
   */
  isOpen(node: string): Promise<boolean>;

  /** Whether a node exists and lies above another: an overlay that a snapshot has put on its image. */
  hasBacking(node: string): Promise<boolean>;

  /**
   * Looks whether the guest's agent would freeze its file systems for a snapshot. Changes nothing.
   * @throws FerryError AGENT_MISSING, AGENT_UNRESPONSIVE, AGENT_REFUSED; GUEST_FROZEN: by somebody else
   */
  canFreeze(): Promise<void>;
  /**
   * The snapshot: all overlays become active at one instant, or none does.
   * @param beforeFreeze awaited before the guest's agent freezes the file systems, so that what the guest has written is in the
   *   images below; `thaw` ends that, whatever became of the snapshot. Where it throws nothing is frozen. Absent: nothing is
   * @throws FerryError what `canFreeze` throws
   */
  snapshot(overlays: readonly OverlayNode[], beforeFreeze?: () => void): Promise<void>;
  /**
   * Has the guest's agent thaw the file systems where `snapshot` has frozen them. Those that are not frozen are no error.
   * @throws FerryError GUEST_NOT_THAWED
   */
  thaw(): Promise<void>;
  /**
   * Opens the mirrors on the source's immutable chain and starts copying their overlays. When it resolves, every write of
   * the guest, before and after, is copied or is going to be.
   * @param beforeStop awaited before the VM's processors are stopped, which some VMs need for this; `wake` lets them go on.
   *   Where it throws they run on, and that is thrown
   * @param limitMs the longest that the processors stand still for it, in milliseconds. Default: as long as it takes
   * @throws FerryError START_FAILED; some may be there by then, and are not to be relied on
   */
  startMirrors(mirrors: readonly MirrorNode[], beforeStop: () => Promise<void>, limitMs?: number): Promise<void>;
  /** How these jobs stand; a job that does not exist is not in the answer. */
  jobs(ids: readonly string[]): Promise<readonly JobState[]>;
  /** Resolves when one of these jobs may have changed its state, and at the latest after `ms` milliseconds. */
  jobChange(ids: readonly string[], ms: number, signal?: AbortSignal): Promise<void>;
  /** Opens the target's chains, and the files of mirrors that are served; nothing stands on them yet. */
  openChains(chains: readonly TargetChain[]): Promise<void>;
  /** Puts every mirror on the target's chain and on its own file, in one command. Only while the guest's I/O is held. */
  attach(chains: readonly TargetChain[]): Promise<void>;

  /**
   * First half of the swap: every job drains its disk and stops. When it resolves, the guest's I/O is held.
   * @param limitMs it throws when this takes longer: some jobs may be held by then, and are to be cancelled. `Infinity`
   *   waits: for folds, which are not to be cancelled once they were told to complete
   * @param beforeStop awaited before the VM's processors are stopped as well, which happens when the guest writes so much
   *   that a job finds no moment to drain; `wake` lets them go on. Where it throws they run on, and that is thrown
   * @throws FerryError HOLD_FAILED
   */
  hold(jobs: readonly string[], limitMs: number, beforeStop: (limit?: AbortSignal) => Promise<void>): Promise<void>;
  /** Second half: the swap takes place, and the guest's I/O goes on. The point of no return. */
  release(jobs: readonly string[]): Promise<void>;
  /** Lets the processors go on where one of the above has stopped them. */
  wake(): Promise<void>;
  /** After `release`: waits until the jobs are over and takes them away. @throws FerryError SWAP_FAILED */
  settle(jobs: readonly string[]): Promise<void>;
  /**
   * Has the jobs end without a swap, in whatever state they are. When it resolves, the guest goes on where it was. A job is
   * there until its I/O has come back: `dismiss` tells.
   */
  cancel(jobs: readonly string[]): Promise<void>;
  /** Takes away those of these jobs that are over. Returns the others. */
  dismiss(jobs: readonly string[]): Promise<readonly string[]>;

  /** Starts merging overlays into the images below them; swapped by `hold` and `release`. `beforeStop` as for mirrors. */
  startFolds(folds: readonly FoldJob[], beforeStop: () => Promise<void>): Promise<void>;
  /** Closes these nodes, in this order. A node that does not exist, or that QEMU closes by itself, is no error. */
  closeNodes(names: readonly string[]): Promise<void>;
  /** The same for nodes of the VM's own: one that something else still uses stays open, and that is no error. */
  closeUnusedNodes(names: readonly string[]): Promise<void>;
  /** Which local files the VM's process has open; undefined where this user may not know. */
  openFiles(): Promise<readonly OpenFile[] | undefined>;
}

/** Finds a disk by any of its names. */
export function findDisk(disks: readonly Disk[], name: string): Disk | undefined {
  return disks.find((disk) => disk.id === name) ?? disks.find((disk) => disk.names.includes(name));
}
