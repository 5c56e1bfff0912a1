import { childNamed, property, readXml, select, textOf, type XmlElement } from '../../domainsnapshot/index.ts';

/** One image of a chain, as libvirt's XML has it. */
export interface DomainImage {
  /** `file`, `block`, `network`, `volume`, … */
  readonly type: string;
  /** Of a file or a block device. */
  readonly path?: string;
  /** What a person calls it: the path, or `rbd:pool/image`. */
  readonly filename: string;
  readonly format: string;
}

/** The block job of a disk that copies it to somewhere. */
export interface DomainMirror {
  /** `copy`, `active-commit`. */
  readonly job: string;
  /** Whether it can be pivoted to: libvirt has seen the job come to that. */
  readonly ready: boolean;
  readonly path: string;
  /** The images below it as libvirt knows them, from the top: it opens them when it pivots. */
  readonly below: readonly DomainImage[];
}

/** One disk of a running domain. */
export interface DomainDisk {
  /** The name of its target, `vda`: unique in the domain, and what libvirt's calls take. */
  readonly target: string;
  readonly bus: string;
  /** `disk`, `cdrom`, `floppy`, `lun`. */
  readonly device: string;
  /** libvirt's own name, `virtio-disk0`. */
  readonly alias?: string;
  readonly readOnly: boolean;
  readonly shareable: boolean;
  /** Its writes are thrown away when the domain ends (`<transient/>`). */
  readonly transient: boolean;
  readonly driver: {
    readonly cache?: string;
    readonly io?: string;
    readonly discard?: string;
    readonly zeroes?: string;
    /** It has an I/O thread (`iothread`, `<iothreads>`), and event indices have not been turned off (`event_idx`). */
    readonly threaded?: boolean;
  };
  /** The chain, active image first; empty for an empty drive. */
  readonly images: readonly DomainImage[];
  readonly mirror?: DomainMirror;
}

/** What is read from a domain's XML. */
export interface DomainDescription {
  readonly name: string;
  readonly uuid: string;
  readonly disks: readonly DomainDisk[];
}

/** Reads the XML of a domain (`virsh dumpxml`). */
export function parseDomain(xml: string): DomainDescription {
  const { root } = readXml(xml);
  return {
    name: text(root, 'name'),
    uuid: text(root, 'uuid'),
    disks: select(root, 'devices', 'disk').map(parseDisk),
  };
}

function text(element: XmlElement, name: string): string {
  const child = childNamed(element, name);
  return child ? textOf(child) : '';
}

function parseDisk(disk: XmlElement): DomainDisk {
  const target = childNamed(disk, 'target');
  const driver = childNamed(disk, 'driver');
  const mirror = childNamed(disk, 'mirror');
  const alias = property(childNamed(disk, 'alias') ?? disk, 'name');
  const option = (name: string): string | undefined => driver && property(driver, name);
  const [cache, io, discard, zeroes] = ['cache', 'io', 'discard', 'detect_zeroes'].map(option);
  return {
    target: (target && property(target, 'dev')) ?? '',
    bus: (target && property(target, 'bus')) ?? '',
    device: property(disk, 'device') ?? 'disk',
    ...(alias !== undefined && { alias }),
    readOnly: childNamed(disk, 'readonly') !== undefined,
    shareable: childNamed(disk, 'shareable') !== undefined,
    transient: childNamed(disk, 'transient') !== undefined,
    driver: {
      ...(cache !== undefined && { cache }),
      ...(io !== undefined && { io }),
      ...(discard !== undefined && { discard }),
      ...(zeroes !== undefined && { zeroes }),
      ...(isThreaded(driver) && { threaded: true }),
    },
    images: parseChain(disk, option('type') ?? 'raw'),
    ...(mirror && { mirror: parseMirror(mirror) }),
  };
}

function isThreaded(driver: XmlElement | undefined): boolean {
  if (driver === undefined || property(driver, 'event_idx') === 'off') return false;
  return property(driver, 'iothread') !== undefined || childNamed(driver, 'iothreads') !== undefined;
}

/** A disk and a `<backingStore>` have the same shape: type, source, and the next one below. */
function parseChain(element: XmlElement, format: string): DomainImage[] {
  const source = childNamed(element, 'source');
  if (source === undefined) return [];
  const below = childNamed(element, 'backingStore');
  const formatBelow = below && childNamed(below, 'format');
  return [
    { ...parseSource(property(element, 'type') ?? 'file', source), format },
    ...(below ? parseChain(below, (formatBelow && property(formatBelow, 'type')) ?? 'raw') : []),
  ];
}

function parseSource(type: string, source: XmlElement): Omit<DomainImage, 'format'> {
  const path = type === 'file' ? property(source, 'file') : type === 'block' ? property(source, 'dev') : undefined;
  if (path !== undefined) return { type, path, filename: path };
  const names = ['protocol', 'name', 'pool', 'volume', 'dir'].flatMap((name) => property(source, name) ?? []);
  return { type, filename: names.join(':') || type };
}

function parseMirror(mirror: XmlElement): DomainMirror {
  const source = childNamed(mirror, 'source');
  return {
    job: property(mirror, 'job') ?? 'copy',
    ready: property(mirror, 'ready') === 'yes',
    path: (source && parseSource(property(mirror, 'type') ?? 'file', source).path) ?? '',
    below: parseChain(mirror, '').slice(1),
  };
}

/** The disk with this target. */
export function diskOf({ disks }: DomainDescription, target: string): DomainDisk | undefined {
  return disks.find((disk) => disk.target === target);
}

/** Every file that the domain has in a chain or mirrors to. */
export function filesOf({ disks }: DomainDescription): ReadonlySet<string> {
  return new Set(
    disks.flatMap(({ images, mirror }) => [...images.map(({ path }) => path ?? ''), ...(mirror ? [mirror.path] : [])]),
  );
}

/** Escapes text for an attribute in single quotes, as libvirt writes them. */
export function escapeAttribute(value: string): string {
  const names: Readonly<Record<string, string>> = {
    '&': '&amp;',
    '<': '&lt;',
    '>': '&gt;',
    "'": '&apos;',
    '"': '&quot;',
  };
  return value.replaceAll(/[&<>'"]/g, (character) => names[character] ?? character);
}

/** The snapshot of `virsh snapshot-create-as --disk-only`: these disks onto these files, every other one left out. */
export function snapshotXml(
  overlays: readonly { readonly disk: string; readonly path: string }[],
  disks: readonly DomainDisk[],
): string {
  const lines = disks.map(({ target }) => {
    const overlay = overlays.find(({ disk }) => disk === target);
    const name = escapeAttribute(target);
    if (overlay === undefined) return `<disk name='${name}' snapshot='no'/>`;
    const source = `<driver type='qcow2'/><source file='${escapeAttribute(overlay.path)}'/>`;
    return `<disk name='${name}' snapshot='external' type='file'>${source}</disk>`;
  });
  return `<domainsnapshot><disks>${lines.join('')}</disks></domainsnapshot>`;
}

/** The target of a block copy: a qcow2 file that is there. */
export function copyTargetXml(path: string): string {
  return `<disk type='file'><driver type='qcow2'/><source file='${escapeAttribute(path)}'/></disk>`;
}
