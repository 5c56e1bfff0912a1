import { LOCATIONS, isOneOf, type SnapshotLocation } from '../model/values.ts';
import { childNamed, property, select, type XmlElement, xpathString } from '../xml/tree.ts';

/** What align and redefine need of one disk of a domain. */
export interface DomainDisk {
  /** `<target dev=…>`: how the disk is called. */
  readonly target: string;
  /** `disk`, `cdrom`, `floppy`, `lun`. */
  readonly device: string;
  /** Type of its source: `file`, `block`, `network`, … */
  readonly type: string;
  /** Path of its source; for rbd and gluster without the pool. */
  readonly path?: string;
  /** Protocol of a network source. */
  readonly protocol?: string;
  /** `<driver type=…>`. */
  readonly format?: string;
  readonly readOnly: boolean;
  /** The `snapshot` attribute, or `no` for read-only and vhost-user disks that have none. */
  readonly snapshot?: SnapshotLocation;
}

/** What align and redefine need of a domain. */
export interface DomainSummary {
  readonly name?: string;
  readonly uuid?: string;
  readonly type?: string;
  /** In libvirt's order: as listed, but those of one bus sorted by target. */
  readonly disks: readonly DomainDisk[];
}

const PATH_ATTRIBUTE: Readonly<Record<string, string>> = { file: 'file', block: 'dev', dir: 'dir', network: 'name' };

function pathOf(source: XmlElement, type: string, protocol: string | undefined): string | undefined {
  const attribute = PATH_ATTRIBUTE[type];
  const value = attribute && property(source, attribute);
  if (!value) return undefined;
  const pooled = protocol === 'rbd' || protocol === 'gluster';
  return (pooled ? value.slice(value.indexOf('/') + 1) : value) || undefined;
}

function readDisk(element: XmlElement): DomainDisk {
  const type = property(element, 'type') ?? 'file';
  const device = property(element, 'device') ?? 'disk';
  const source = childNamed(element, 'source');
  const target = childNamed(element, 'target');
  const driver = childNamed(element, 'driver');
  const protocol = source && type === 'network' ? property(source, 'protocol') : undefined;
  const path = source && pathOf(source, type, protocol);
  const format = driver && property(driver, 'type');
  const readOnly = device === 'cdrom' || childNamed(element, 'readonly') !== undefined;
  const given = property(element, 'snapshot');
  const snapshot = given !== undefined && isOneOf(LOCATIONS, given) ? given : implied(readOnly, type);
  return {
    target: (target && property(target, 'dev')) ?? '',
    device,
    type,
    ...(path === undefined ? {} : { path }),
    ...(protocol === undefined ? {} : { protocol }),
    ...(format === undefined ? {} : { format }),
    readOnly,
    ...(snapshot === undefined ? {} : { snapshot }),
  };
}

function implied(readOnly: boolean, type: string): SnapshotLocation | undefined {
  return readOnly || type === 'vhostuser' ? 'no' : undefined;
}

/** The bus as it is written: libvirt sorts the disks before it fills in a bus that is not. */
function busOf(element: XmlElement): string {
  const target = childNamed(element, 'target');
  return (target && property(target, 'bus')) ?? '';
}

/** The number of a target name: `vda` 0, `vdb` 1, `vdaa` 26; -1 for a name of another form (`virDiskNameToIndex`). */
function indexOf(target: string): number {
  const letters = /^(?:fd|hd|vd|sd|xvd|ubd)([a-z]+)[0-9]*$/.exec(target)?.[1];
  if (letters === undefined) return -1;
  let index = 0;
  for (const letter of letters) index = index * 26 + letter.charCodeAt(0) - 96;
  return index - 1;
}

interface Placed {
  readonly bus: string;
  readonly disk: DomainDisk;
}

/** Where libvirt's domain parser puts the next disk: among those of its bus by target, a new bus at the end. */
function placeFor(disks: readonly Placed[], next: Placed): number {
  const index = indexOf(next.disk.target);
  const later = disks.findIndex(({ bus, disk }) => bus === next.bus && indexOf(disk.target) > index);
  if (later >= 0) return later;
  const last = disks.findLastIndex(({ bus }) => bus === next.bus);
  return last >= 0 ? last + 1 : disks.length;
}

/** Reads what align and redefine need from a domain's tree. */
export function summarizeDomain(domain: XmlElement): DomainSummary {
  const placed: Placed[] = [];
  for (const element of select(domain, 'devices', 'disk')) {
    const next = { bus: busOf(element), disk: readDisk(element) };
    placed.splice(placeFor(placed, next), 0, next);
  }
  const name = xpathString(domain, 'name');
  const uuid = xpathString(domain, 'uuid');
  const type = property(domain, 'type');
  return {
    ...(name === undefined ? {} : { name }),
    ...(uuid === undefined ? {} : { uuid }),
    ...(type === undefined ? {} : { type }),
    disks: placed.map(({ disk }) => disk),
  };
}
