import type { HostTransport, NetworkProtocol } from './values.ts';

/** One `<host>` of a network source. `tcp` and `rdma` have name and port, `unix` has a socket. */
export interface NetworkHost {
  readonly transport: HostTransport;
  readonly name?: string;
  /** 1-65535; absent where the protocol has no usual port and none was given. */
  readonly port?: number;
  readonly socket?: string;
}

/** `<seclabel>` of a source: how the security driver labels the file. */
export interface SecurityLabel {
  readonly model?: string;
  readonly relabel: boolean;
  readonly labelSkip: boolean;
  readonly label?: string;
}

/** A reference to one of libvirt's secrets: by uuid or by usage. */
export type SecretReference =
  | { readonly uuid: string; readonly usage?: undefined }
  | { readonly usage: string; readonly uuid?: undefined };

/** `<auth>`: user name and secret for the storage. */
export interface SourceAuth {
  readonly username: string;
  /** `chap` or `ceph`, where it was given. */
  readonly type?: string;
  readonly secretType?: string;
  readonly secret: SecretReference;
}

/** `<encryption>`: the format, its secrets, and for luks the cipher. */
export interface SourceEncryption {
  readonly format: string;
  readonly engine?: string;
  readonly secrets: readonly SecretReference[];
  readonly cipher?: {
    readonly name: string;
    /** Key length in bits. */
    readonly size: number;
    readonly mode?: string;
    readonly hash?: string;
  };
  readonly ivgen?: { readonly name: string; readonly hash?: string };
}

/** `<reservations>`: SCSI persistent reservations through a helper; unmanaged ones name its socket. */
export interface SourceReservations {
  readonly managed: boolean;
  readonly path?: string;
}

/** The part of the storage that is the image: offset and size in bytes. */
export interface StorageSlice {
  readonly offset: bigint;
  readonly size: bigint;
}

/** What every type of source can have below it. */
export interface SourceExtras {
  readonly slice?: StorageSlice;
  readonly securityLabels?: readonly SecurityLabel[];
  readonly auth?: SourceAuth;
  readonly encryption?: SourceEncryption;
  readonly reservations?: SourceReservations;
}

/** A file (`<source file=…>`). */
export interface FileSource extends SourceExtras {
  readonly type: 'file';
  /** Absolute path of the file; absent when it is to be generated (see align). */
  readonly path?: string;
  /** Name of a group of file descriptors. */
  readonly fdGroup?: string;
}

/** A block device (`<source dev=…>`). */
export interface BlockSource extends SourceExtras {
  readonly type: 'block';
  /** Absolute path of the device node. */
  readonly path?: string;
}

/** An `http` cookie. Read and checked as libvirt does, and never printed in a list of disks. */
export interface NetworkCookie {
  readonly name: string;
  readonly value: string;
}

/** Storage that the hypervisor reaches over the network itself (`<source protocol=…>`). */
export interface NetworkSource extends SourceExtras {
  readonly type: 'network';
  readonly protocol: NetworkProtocol;
  /** Pool or volume: the part of rbd's and gluster's name before the first `/`. */
  readonly volume?: string;
  /** Export, image, target or file; for rbd and gluster what follows the first `/`. */
  readonly path?: string;
  readonly query?: string;
  readonly tls?: boolean;
  readonly tlsHostname?: string;
  readonly hosts: readonly NetworkHost[];
  readonly identity?: { readonly user?: string; readonly group?: string };
  readonly snapshot?: string;
  readonly config?: string;
  readonly initiator?: string;
  readonly sslVerify?: boolean;
  readonly cookies?: readonly NetworkCookie[];
  /** Bytes. */
  readonly readahead?: bigint;
  /** Seconds. */
  readonly timeout?: bigint;
}

/** An NVMe namespace behind a PCI address, without the host's driver. */
export interface NvmeSource extends SourceExtras {
  readonly type: 'nvme';
  readonly managed?: boolean;
  /** Absent when the disk has no `<source>`. */
  readonly namespace?: bigint;
  readonly address: {
    readonly domain: number;
    readonly bus: number;
    readonly slot: number;
    readonly function: number;
  };
}

/** A vhost-user daemon behind a unix socket. */
export interface VhostUserSource extends SourceExtras {
  readonly type: 'vhostuser';
  /** Path of the unix socket. */
  readonly socket?: string;
  readonly reconnect?: { readonly enabled: boolean /** Seconds. */; readonly timeout?: number };
}

/** A vDPA device; younger than libvirt 9.0. */
export interface VhostVdpaSource extends SourceExtras {
  readonly type: 'vhostvdpa';
  /** Path of the vhost-vdpa character device. */
  readonly device?: string;
}

/** Where the data of a disk is (`virStorageSource`). */
export type StorageSource = FileSource | BlockSource | NetworkSource | NvmeSource | VhostUserSource | VhostVdpaSource;

/** The path in libvirt's sense (`src->path`): what makes a disk external and what align fills in. */
export function pathOf(source: StorageSource): string | undefined {
  return 'path' in source ? source.path : undefined;
}

/** A source of this type with nothing set: what a disk without `<source>` has. */
export function emptySource(type: StorageSource['type']): StorageSource {
  if (type === 'network') return { type, protocol: 'none', hosts: [] };
  if (type === 'nvme') return { type, address: { domain: 0, bus: 0, slot: 0, function: 0 } };
  return { type };
}
