import type { Snapshot, SnapshotDisk } from '../model/snapshot.ts';
import type { Profile } from '../model/profile.ts';
import { XmlWriter } from '../xml/writer.ts';
import { formatDisk, formatDisk2012 } from './disk.ts';
import { formatTree } from './domain.ts';

/**
 * The format flags, by libvirt's names (`VIR_DOMAIN_SNAPSHOT_FORMAT_…`): `SECURE` keeps the secrets of the domain,
 * `INTERNAL` adds `<active>` for stored metadata, `CURRENT` makes that 1.
 */
export type FormatFlag = 'SECURE' | 'INTERNAL' | 'CURRENT';

/** How a snapshot is written. */
export interface FormatOptions {
  readonly flags?: readonly FormatFlag[];
  readonly profile?: Profile;
  /** Uuid of the domain, for the stub `<domain>` of a snapshot that has no full one. */
  readonly domainUuid?: string;
}

function formatParent(writer: XmlWriter, parent: string | undefined): void {
  if (parent !== undefined) writer.open('parent', [], () => writer.text('name', parent));
}

function formatDisks(
  writer: XmlWriter,
  name: string,
  disks: readonly SnapshotDisk[],
  formatOne: (writer: XmlWriter, disk: SnapshotDisk) => void,
): void {
  writer.open(name, [], () => {
    for (const disk of disks) formatOne(writer, disk);
  });
}

/** The full domain, else a stub with the uuid that the caller gives, else nothing. */
function formatDomain(writer: XmlWriter, snapshot: Snapshot, options: FormatOptions, secure: boolean): void {
  if (snapshot.domain !== undefined) formatTree(writer, snapshot.domain, secure);
  else if (options.domainUuid !== undefined) {
    writer.open('domain', [], () => writer.text('uuid', options.domainUuid));
  }
}

function formatModern(writer: XmlWriter, snapshot: Snapshot, options: FormatOptions, secure: boolean): void {
  writer.text('name', snapshot.name);
  writer.text('description', snapshot.description);
  writer.text('state', snapshot.state);
  formatParent(writer, snapshot.parent);
  writer.text('creationTime', snapshot.creationTime === 0n ? undefined : snapshot.creationTime);
  writer.element('memory', [
    ['snapshot', snapshot.memory?.location],
    ['file', snapshot.memory?.file],
  ]);
  if (snapshot.disks.length > 0) formatDisks(writer, 'disks', snapshot.disks, formatDisk);
  const reverted = snapshot.revertDisks ?? [];
  if (reverted.length > 0) formatDisks(writer, 'revertDisks', reverted, formatDisk);
  formatDomain(writer, snapshot, options, secure);
  if (snapshot.inactiveDomain !== undefined) formatTree(writer, snapshot.inactiveDomain, secure);
  if (snapshot.cookie !== undefined) formatTree(writer, snapshot.cookie, secure);
}

/** 2012: state and time are always written, disks only for a disk snapshot, and there is no memory. */
function format2012(writer: XmlWriter, snapshot: Snapshot, options: FormatOptions, secure: boolean): void {
  writer.text('name', snapshot.name);
  writer.text('description', snapshot.description);
  writer.text('state', snapshot.state ?? 'nostate');
  formatParent(writer, snapshot.parent);
  writer.text('creationTime', snapshot.creationTime ?? 0n);
  if (snapshot.state === 'disk-snapshot') formatDisks(writer, 'disks', snapshot.disks, formatDisk2012);
  formatDomain(writer, snapshot, options, secure);
}

/** Writes a snapshot as libvirt does, byte for byte (`virDomainSnapshotDefFormat`). */
export function formatSnapshot(snapshot: Snapshot, options: FormatOptions = {}): string {
  const flags = new Set(options.flags);
  const writer = new XmlWriter();
  writer.open('domainsnapshot', [], () => {
    const format = options.profile === 'seed-2012' ? format2012 : formatModern;
    format(writer, snapshot, options, flags.has('SECURE'));
    if (flags.has('INTERNAL')) writer.text('active', flags.has('CURRENT') ? '1' : '0');
  });
  return writer.toString();
}
