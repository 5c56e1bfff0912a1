/**
 * The closed lists of words that `<domainsnapshot>` knows, in libvirt's order. Each is matched exactly: case and blanks
 * matter.
 */

/** Where a disk's snapshot goes (`virDomainSnapshotLocation`); an unset one is left to align. `manual` since libvirt 8.2. */
export const LOCATIONS = ['no', 'internal', 'external', 'manual'] as const;
/** Where a disk's snapshot goes: one of `LOCATIONS`. */
export type SnapshotLocation = (typeof LOCATIONS)[number];

/** The state of the domain when the snapshot was taken (`virDomainSnapshotState`). */
export const STATES = [
  'nostate',
  'running',
  'blocked',
  'paused',
  'shutdown',
  'shutoff',
  'crashed',
  'pmsuspended',
  'disk-snapshot',
] as const;
/** `nostate` is only read by the 2012 profile. */
export type SnapshotState = (typeof STATES)[number];

/** Types of storage that a snapshot's disk can have; `vhostvdpa` is younger than libvirt 9.0. */
export const SOURCE_TYPES = ['file', 'block', 'network', 'nvme', 'vhostuser', 'vhostvdpa'] as const;
/** The type of a disk's source: one of `SOURCE_TYPES`. */
export type SourceType = (typeof SOURCE_TYPES)[number];

/** Types of storage that libvirt knows and does not take for a snapshot's disk. */
export const UNSUPPORTED_SOURCE_TYPES: readonly string[] = ['dir', 'volume'];

/** The formats of `<driver type=…>` in a snapshot (`virStorageFileFormat` without `none` and `auto`). */
export const DISK_FORMATS = [
  'raw',
  'dir',
  'bochs',
  'cloop',
  'dmg',
  'iso',
  'vpc',
  'vdi',
  'fat',
  'vhd',
  'ploop',
  'cow',
  'qcow',
  'qcow2',
  'qed',
  'vmdk',
] as const;

/** The port that libvirt fills in for a host without one; 0 = the protocol has none. */
export const PROTOCOL_PORTS = {
  none: 0,
  nbd: 10809,
  rbd: 0,
  sheepdog: 7000,
  gluster: 24007,
  iscsi: 3260,
  http: 80,
  https: 443,
  ftp: 21,
  ftps: 990,
  tftp: 69,
  ssh: 22,
  vxhs: 9999,
  nfs: 0,
} as const;
/** `none` is what a network disk without `<source>` comes out as. */
export type NetworkProtocol = keyof typeof PROTOCOL_PORTS;

/** How a network host is reached (`virStorageNetHostTransport`). */
export const TRANSPORTS = ['tcp', 'unix', 'rdma'] as const;
/** How a network host is reached: one of the transports of libvirt. */
export type HostTransport = (typeof TRANSPORTS)[number];

/** Whether a text is one of the words. */
export function isOneOf<T extends string>(words: readonly T[], text: string): text is T {
  return (words as readonly string[]).includes(text);
}
