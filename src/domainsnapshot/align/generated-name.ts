import { DomainSnapshotError } from '../errors.ts';
import type { SnapshotDisk } from '../model/snapshot.ts';
import { pathOf } from '../model/source.ts';
import type { DomainDisk } from './domain-disk.ts';

/** What align asks of the file system. It asks for the path of a disk whatever its type, as libvirt does. */
export interface FileSystem {
  /** Whether `stat` of the path succeeds and says regular file. */
  isRegularFile(path: string): boolean;
}

interface Entry {
  readonly domainDisk: DomainDisk;
  readonly disk: SnapshotDisk;
}

function refuse(text: string): DomainSnapshotError {
  return new DomainSnapshotError('VIR_ERR_CONFIG_UNSUPPORTED', text);
}

/**
 * The name beside a file: what follows the last dot of its file name is replaced by the snapshot's name. The whole name of
 * a hidden file counts as what follows the dot: `/images/.hidden` gives `/images/.snap1`.
 */
export function generatedName(path: string, snapshot: string): string {
  const dot = path.lastIndexOf('.');
  const base = dot >= 0 && !path.slice(dot).includes('/') ? path.slice(0, dot) : path;
  return `${base}.${snapshot}`;
}

function generate(entry: Entry, earlier: readonly SnapshotDisk[], snapshot: string, files: FileSystem): SnapshotDisk {
  const { disk, domainDisk } = entry;
  const cannot = `cannot generate external snapshot name for disk '${disk.name}'`;
  if (disk.source.type !== 'file') throw refuse(`${cannot} on a '${disk.source.type}' device`);
  if (domainDisk.path === undefined) throw refuse(`${cannot} without source`);
  if (!files.isRegularFile(domainDisk.path)) {
    throw refuse(`source for disk '${disk.name}' is not a regular file; refusing to generate external snapshot name`);
  }
  const path = generatedName(domainDisk.path, snapshot);
  // Only earlier disks are compared: libvirt does not see a clash with a later one's explicit path, nor with the file
  // itself. Whoever acts on the result refuses targets that exist.
  const clash = earlier.find((other) => pathOf(other.source) === path);
  if (clash !== undefined) throw refuse(`${cannot}: collision with disk '${clash.name}'`);
  return { ...disk, source: { ...disk.source, path } };
}

/** Gives every external disk without a path a generated one, in order. */
export function generateNames(entries: readonly Entry[], snapshot: string, files: FileSystem): readonly SnapshotDisk[] {
  const named: SnapshotDisk[] = [];
  for (const entry of entries) {
    const needed = entry.disk.location === 'external' && pathOf(entry.disk.source) === undefined;
    named.push(needed ? generate(entry, named, snapshot, files) : entry.disk);
  }
  return named;
}
