import type { XmlElement } from '../../domainsnapshot/index.ts';
import type { Disk, Inventory } from '../../vm/index.ts';

/** A disk of a VM under the name that the description gives it. */
export interface NamedDisk {
  /** `<target dev=…>`. */
  readonly target: string;
  readonly disk: Disk;
}

/** A `<domain>` made from what QEMU says of a VM, and which disk is which in it. */
export interface DomainDescription {
  readonly domain: XmlElement;
  readonly disks: readonly NamedDisk[];
}

function element(
  name: string,
  attributes: Readonly<Record<string, string | undefined>>,
  ...children: readonly (XmlElement | string)[]
): XmlElement {
  const given = Object.entries(attributes).flatMap(([key, value]) =>
    value === undefined ? [] : [{ name: key, value }],
  );
  return { name, attributes: given, children };
}

/** Names of disks as libvirt has them. */
const TARGET_NAME = /^(?:fd|hd|vd|sd|xvd|ubd)[a-z]+\d*$/;

/** The bus by the type of the device, and how disks on it are called. */
function busOf({ deviceType }: Disk): { readonly bus: string; readonly prefix: string } {
  if (deviceType.startsWith('scsi')) return { bus: 'scsi', prefix: 'sd' };
  if (deviceType.startsWith('ide')) return { bus: 'ide', prefix: 'hd' };
  if (deviceType.startsWith('floppy')) return { bus: 'fdc', prefix: 'fd' };
  return { bus: 'virtio', prefix: 'vd' };
}

/** `a`, …, `z`, `aa`, … */
function letters(index: number): string {
  const rest = index >= 26 ? letters(Math.floor(index / 26) - 1) : '';
  return rest + String.fromCodePoint(97 + (index % 26));
}

/** Disks keep their id where that is a name that libvirt could have given; the others get the next one of their bus. */
function nameDisks(disks: readonly Disk[]): readonly NamedDisk[] {
  const taken = new Set(disks.map(({ id }) => id).filter((id) => TARGET_NAME.test(id)));
  return disks.map((disk) => {
    if (taken.has(disk.id)) return { target: disk.id, disk };
    let index = 0;
    while (taken.has(busOf(disk).prefix + letters(index))) index += 1;
    const target = busOf(disk).prefix + letters(index);
    taken.add(target);
    return { target, disk };
  });
}

function diskElement({ target, disk }: NamedDisk): XmlElement {
  const [active] = disk.images;
  const source =
    active === undefined
      ? []
      : [element('driver', { name: 'qemu', type: active.format }), element('source', { file: active.path })];
  return element(
    'disk',
    { type: 'file', device: disk.removable ? 'cdrom' : 'disk' },
    ...source,
    element('target', { dev: target, bus: busOf(disk).bus }),
    ...(disk.readOnly ? [element('readonly', {})] : []),
    element('alias', { name: disk.id }),
  );
}

/**
 * Describes a VM as libvirt would, as far as snapshots need it: who it is, and its disks. Firmware in flash is no disk.
 * A name cannot hold a slash there, so that of a VM without name, its address, has others in their place.
 */
export function describeDomain({ identity, disks }: Inventory): DomainDescription {
  const named = nameDisks(disks.filter(({ deviceType }) => !deviceType.startsWith('cfi.pflash')));
  const domain = element(
    'domain',
    { type: 'qemu' },
    element('name', {}, identity.name.replaceAll('/', '_')),
    ...(identity.uuid === '' ? [] : [element('uuid', {}, identity.uuid)]),
    element('os', {}, element('type', {}, 'hvm')),
    element('devices', {}, ...named.map(diskElement)),
  );
  return { domain, disks: named };
}

/** The disk that a user means: by its target, its id, or another name that QEMU or the file system has for it. */
export function findNamedDisk(disks: readonly NamedDisk[], name: string): NamedDisk | undefined {
  return disks.find(({ target }) => target === name) ?? disks.find(({ disk }) => disk.names.includes(name));
}
