import type { ListFlag } from '../domainsnapshot/index.ts';

/** Flags of creating, by libvirt's names (`VIR_DOMAIN_SNAPSHOT_CREATE_…`). */
export type CreateFlag =
  | 'REDEFINE'
  | 'CURRENT'
  | 'NO_METADATA'
  | 'HALT'
  | 'DISK_ONLY'
  | 'REUSE_EXT'
  | 'QUIESCE'
  | 'ATOMIC'
  | 'LIVE'
  | 'VALIDATE';

/**
 * Flags of deleting (`VIR_DOMAIN_SNAPSHOT_DELETE_…`). The last two are for a mirrored snapshot, and no libvirt's: the
 * guest goes over to the mirrors, or stays where it is.
 */
export type DeleteFlag = 'CHILDREN' | 'METADATA_ONLY' | 'CHILDREN_ONLY' | 'MIRROR_PIVOT' | 'MIRROR_ABORT';

/** Flags of reverting (`VIR_DOMAIN_SNAPSHOT_REVERT_…`, and `VIR_DOMAIN_SNAPSHOT_…`). */
export type RevertFlag = 'RUNNING' | 'PAUSED' | 'FORCE' | 'RESET_NVRAM';

/** How the mirrors of a snapshot stand: that of all its disks together. */
export interface MirrorState {
  /** `broken`: at least one was ended by somebody else, or failed. `unknown`: the VM cannot be asked. */
  readonly state: 'copying' | 'ready' | 'pivot' | 'broken' | 'unknown';
  /** What is broken and what to do, for a person. */
  readonly advice?: string;
}

/**
 * A domain and who keeps its snapshots: libvirt, or blockferry itself. The methods are libvirt's calls, one to one, so
 * that the commands above them are virsh's. What they throw has libvirt's message, and its code by name in `code`
 * (`libvirtCodeOf`).
 */
export interface SnapshotDomain {
  readonly name: string;
  isActive(): Promise<boolean>;
  isPersistent(): Promise<boolean>;
  /** Pulls the plug: what virsh does where it has to stand in for `HALT`. */
  destroy(): Promise<void>;
  /**
   * Takes a snapshot, or with `REDEFINE` puts metadata back.
   * @returns the name of the snapshot
   */
  create(xml: string, flags: readonly CreateFlag[]): Promise<string>;
  /** Names; with `from` only those below that snapshot. */
  list(flags: readonly ListFlag[], from?: string): Promise<readonly string[]>;
  /** @throws VIR_ERR_NO_DOMAIN_SNAPSHOT */
  find(name: string): Promise<void>;
  hasCurrent(): Promise<boolean>;
  /** @throws VIR_ERR_NO_DOMAIN_SNAPSHOT */
  current(): Promise<string>;
  isCurrent(name: string): Promise<boolean>;
  hasMetadata(name: string): Promise<boolean>;
  /** Undefined for a root. */
  parent(name: string): Promise<string | undefined>;
  /** The `<domainsnapshot>`; with `secure` the secrets of its domain are in it. */
  describe(name: string, options?: { readonly secure?: boolean }): Promise<string>;
  /** How its mirrors stand; undefined for a snapshot that has none. */
  mirror(name: string): Promise<MirrorState | undefined>;
  delete(name: string, flags: readonly DeleteFlag[]): Promise<void>;
  revert(name: string, flags: readonly RevertFlag[]): Promise<void>;
}

/** Where domains are looked up. */
export interface SnapshotHost {
  /** By name, id or UUID; undefined when there is none. */
  domain(wanted: string): Promise<SnapshotDomain | undefined>;
}

/** The name of libvirt's error code, where an error has one. */
export function libvirtCodeOf(error: unknown): string | undefined {
  if (!(error instanceof Error) || !('code' in error)) return undefined;
  return typeof error.code === 'string' && error.code.startsWith('VIR_ERR_') ? error.code : undefined;
}
