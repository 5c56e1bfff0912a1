import { DomainSnapshotError } from '../errors.ts';
import type { Snapshot, SnapshotDisk } from '../model/snapshot.ts';
import { pathOf } from '../model/source.ts';
import type { SnapshotLocation } from '../model/values.ts';
import type { XmlElement } from '../xml/tree.ts';
import { type DomainDisk, summarizeDomain } from './domain-disk.ts';
import { type FileSystem, generateNames } from './generated-name.ts';

/** How a snapshot is aligned. */
export interface AlignOptions {
  /** Where disks go that say nothing themselves. */
  readonly defaultLocation: SnapshotLocation;
  /** With an internal default, every disk that is asked for must be internal too. Default: false. */
  readonly uniformInternal?: boolean;
  /** Disks that are not asked for get the default, whatever the domain says of them. Younger than libvirt 9.0. */
  readonly forceDefault?: boolean;
  /** The domain of the snapshot that is being redefined, for one that has none itself. */
  readonly existingDomain?: XmlElement;
  /** What is asked of the file system before a name is generated. */
  readonly files: FileSystem;
}

/** A disk that is asked for, with the disk of the domain that it means. */
interface Request {
  readonly disk: SnapshotDisk;
  readonly domainDisk: DomainDisk;
}

function refuse(text: string): DomainSnapshotError {
  return new DomainSnapshotError('VIR_ERR_CONFIG_UNSUPPORTED', text);
}

/** A name that begins with `/` is a source path and must be that of exactly one disk; any other is a target. */
function findDisk(disks: readonly DomainDisk[], name: string): DomainDisk | undefined {
  if (!name.startsWith('/')) return disks.find((disk) => disk.target === name);
  const found = disks.filter((disk) => disk.path === name);
  return found.length === 1 ? found[0] : undefined;
}

/** Nothing is in the drive, or nothing is behind the disk (`virStorageSourceIsEmpty`). */
function isEmpty(disk: DomainDisk): boolean {
  if (['file', 'block', 'dir'].includes(disk.type)) return disk.path === undefined;
  return disk.type === 'network' && (disk.protocol ?? 'none') === 'none';
}

/** Where a disk goes that is asked for without saying so. */
function defaultFor(domainDisk: DomainDisk, defaultLocation: SnapshotLocation, mustMatch: boolean): SnapshotLocation {
  const { snapshot } = domainDisk;
  return snapshot !== undefined && (!mustMatch || snapshot === 'no') ? snapshot : defaultLocation;
}

/** One disk that is asked for, with its location decided and its name made the target. */
function alignRequest(request: Request, options: AlignOptions, mustMatch: boolean): SnapshotDisk {
  const { disk, domainDisk } = request;
  const { defaultLocation } = options;
  const location = disk.location ?? defaultFor(domainDisk, defaultLocation, mustMatch);
  const bothNo = location === 'no' && domainDisk.snapshot === 'no';
  if (disk.location !== undefined && mustMatch && location !== defaultLocation && !bothNo) {
    throw refuse(`disk '${disk.name}' must use snapshot mode '${defaultLocation}'`);
  }
  const path = pathOf(disk.source);
  if (path !== undefined && location !== 'external') {
    throw refuse(`file '${path}' for disk '${disk.name}' requires use of external snapshot mode`);
  }
  return { ...disk, location, name: domainDisk.target };
}

/** A disk of the domain that was not asked for. */
function unrequested(domainDisk: DomainDisk, options: AlignOptions): SnapshotDisk {
  const own = options.forceDefault === true ? undefined : domainDisk.snapshot;
  const location = isEmpty(domainDisk) ? 'no' : (own ?? options.defaultLocation);
  return { name: domainDisk.target, location, source: { type: 'file' } };
}

/** Checks the requests one after another, in the order given, and aligns each. */
function alignRequests(
  snapshot: Snapshot,
  domainDisks: readonly DomainDisk[],
  options: AlignOptions,
): ReadonlyMap<DomainDisk, SnapshotDisk> {
  const mustMatch = options.uniformInternal === true && options.defaultLocation === 'internal';
  const aligned = new Map<DomainDisk, SnapshotDisk>();
  for (const disk of snapshot.disks) {
    const domainDisk = findDisk(domainDisks, disk.name);
    if (domainDisk === undefined) throw refuse(`no disk named '${disk.name}'`);
    if (aligned.has(domainDisk)) throw refuse(`disk '${disk.name}' specified twice`);
    aligned.set(domainDisk, alignRequest({ disk, domainDisk }, options, mustMatch));
  }
  return aligned;
}

/**
 * Makes a snapshot's disks those of its domain: each disk of the domain gets an entry, in the domain's order, with a
 * location, and each external one without a path gets a generated name (`virDomainSnapshotAlignDisks`, libvirt 11.3). The
 * mirrors stay as they are.
 *
 * @throws DomainSnapshotError VIR_ERR_INTERNAL_ERROR without a domain, otherwise VIR_ERR_CONFIG_UNSUPPORTED.
 */
export function alignDisks(snapshot: Snapshot, options: AlignOptions): Snapshot {
  const domain = snapshot.domain ?? options.existingDomain;
  if (domain === undefined) throw new DomainSnapshotError('VIR_ERR_INTERNAL_ERROR', 'missing domain in snapshot');
  const { disks: domainDisks } = summarizeDomain(domain);
  if (snapshot.disks.length > domainDisks.length) throw refuse('too many disk snapshot requests for domain');
  const requested = alignRequests(snapshot, domainDisks, options);
  const entries = domainDisks.map((domainDisk) => ({
    domainDisk,
    disk: requested.get(domainDisk) ?? unrequested(domainDisk, options),
  }));
  return { ...snapshot, disks: generateNames(entries, snapshot.name ?? '', options.files) };
}
