/** Who a running virtual machine is. Plain data: it is written to the journal. */
export interface VmIdentity {
  /** The name that the VM was started with, or its address where it has none. */
  readonly name: string;
  /** Lower case; the empty string where the VM has none (QEMU then says all zeroes). */
  readonly uuid: string;
  /** Host name of the machine that it runs on. */
  readonly host: string;
  /** The QEMU process, as `BOOTID/PID/STARTTIME`: never the same for two processes. Empty where it is not known. */
  readonly process: string;
  /** Process id of QEMU, or 0 where it is not known. */
  readonly pid: number;
  /** Where its monitor is: the path of a unix socket, or `host:port`. */
  readonly address: string;
}

/** One image of a disk's chain, as the running VM has it open. */
export interface ImageNode {
  /** QEMU's node-name of the format layer; `#block…` names are QEMU's own and differ at each start. */
  readonly node: string;
  /** Node-name of the protocol layer below it; the same as `node` where the VM uses a file without a format layer. */
  readonly fileNode: string;
  /** The format driver: `raw`, `qcow2`, or what else QEMU says. `file` and the like count as raw. */
  readonly format: string;
  /** The protocol driver: `file`, `host_device`, `nbd`, … */
  readonly protocol: string;
  /** Absolute path as the VM names it (symbolic links not followed); undefined where it is not a local file. */
  readonly path?: string;
  /** What the VM calls it, for messages: a path or a URL. */
  readonly filename: string;
  readonly readOnly: boolean;
}

/** Settings of the active node that a node which takes its place has to keep. */
export interface NodeSettings {
  /** O_DIRECT (`cache.direct`). */
  readonly direct: boolean;
  /** `off`, `on` or `unmap`. */
  readonly detectZeroes: 'off' | 'on' | 'unmap';
  /** Whether the guest's discards reach the image. */
  readonly discard: 'ignore' | 'unmap';
  /** How the file is read and written; undefined: QEMU's default. */
  readonly aio?: 'threads' | 'native' | 'io_uring';
}

/** One drive of a virtual machine. */
export interface Disk {
  /** What blockferry calls it: the drive's id, else the device's id, else its node-name. Unique in the VM. */
  readonly id: string;
  /** Every name that a user may give for it: `id`, device id, QOM path, node-name. */
  readonly names: readonly string[];
  /** QOM type of the device (`virtio-blk-device`, `scsi-hd`, `ide-cd`, `cfi.pflash01`, …); empty where no device holds it. */
  readonly deviceType: string;
  /** The node that the device is attached to: `images[0].node`, or a filter above it. Undefined: an empty drive. */
  readonly rootNode?: string;
  /** Drivers of the filter nodes between the device and the active image, from the top. */
  readonly filters: readonly string[];
  /** The chain, active image first; empty for an empty drive. */
  readonly images: readonly ImageNode[];
  /** Size that the guest sees, in bytes. */
  readonly size: number;
  readonly readOnly: boolean;
  readonly removable: boolean;
  /** Another VM may write to it at the same time (`share-rw`). */
  readonly shareable: boolean;
  /**
   * Its I/O is done by a thread of its own and its queues use event indices: QEMU may lose its interrupt when the VM is
   * stopped, and no later one makes up for it. Default: no.
   */
  readonly threaded?: boolean;
  readonly settings: NodeSettings;
  /** Names of the dirty bitmaps on the active node. */
  readonly bitmaps: readonly { readonly name: string; readonly persistent: boolean }[];
  /** Bytes that the guest has written since the VM started. */
  readonly writtenBytes: number;
}

/** A block job, whoever started it. */
export interface BlockJob {
  readonly id: string;
  /** `mirror`, `commit`, `stream`, `backup`, … */
  readonly type: string;
  /** QEMU's JobStatus: `created`, `running`, `paused`, `ready`, `standby`, `waiting`, `pending`, `aborting`, `concluded`, `null`. */
  readonly status: string;
}

/** What is running: one look at a VM. */
export interface Inventory {
  readonly identity: VmIdentity;
  /** QEMU's RunState: `running`, `paused`, `prelaunch`, `io-error`, … */
  readonly status: string;
  readonly version: string;
  readonly disks: readonly Disk[];
  readonly jobs: readonly BlockJob[];
  /** Status of a live migration of the VM itself, where there is one that is not over. */
  readonly liveMigration?: string;
  /** Node names that are taken. */
  readonly nodes: readonly string[];
  /** Nodes of this VM's disks that more than one parent uses, for instance a base below two disks. */
  readonly sharedNodes: readonly string[];
  /** `files`: whoever manages the VM names nodes for itself, so that here a node's name is its file. Default: QEMU's names. */
  readonly naming?: 'files';
  /** What would not survive a move of the disks, in words; none where it is absent. */
  readonly obstacles?: readonly string[];
}
