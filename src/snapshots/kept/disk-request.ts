import { alignDisks, pathOf, type Snapshot, type SnapshotDisk } from '../../domainsnapshot/index.ts';
import { leftBecause } from '../../migration/index.ts';
import type { CreateFlag } from '../snapshot-driver.ts';
import { refusal, type SnapshotError } from '../snapshot-error.ts';
import { type DomainDescription, findNamedDisk, type NamedDisk } from './domain-description.ts';
import type { OverlayFile } from './overlay-file.ts';
import { REGULAR_FILES } from './regular-files.ts';

function unsupported(text: string): SnapshotError {
  return refusal('VIR_ERR_OPERATION_UNSUPPORTED', text);
}

function unfit(text: string): SnapshotError {
  return refusal('VIR_ERR_CONFIG_UNSUPPORTED', text);
}

/** What can be taken over QMP: the disks. @throws SnapshotError VIR_ERR_OPERATION_UNSUPPORTED */
export function checkDiskOnly({ memory }: Snapshot, flags: readonly CreateFlag[]): void {
  if (!flags.includes('DISK_ONLY') || (memory !== undefined && memory.location !== 'no')) {
    throw unsupported('over QMP a snapshot is of the disks only: give --disk-only, and no memory');
  }
  for (const flag of ['HALT', 'LIVE'] as const) {
    if (flags.includes(flag)) throw unsupported(`${flag} does not go with a snapshot over QMP`);
  }
}

/** The request with the names that the description has for the disks, however the user called them. */
export function withTargets(snapshot: Snapshot, { domain, disks: named }: DomainDescription): Snapshot {
  const disks = snapshot.disks.map((disk) => {
    const target = findNamedDisk(named, disk.name)?.target;
    return target === undefined ? disk : { ...disk, name: target };
  });
  return { ...snapshot, disks, domain };
}

/**
 * Makes a request's disks those of the VM: every disk that the guest can write to takes part, unless it says `no`, with a
 * file whose name is made where none is given.
 * @throws SnapshotError, DomainSnapshotError VIR_ERR_CONFIG_UNSUPPORTED
 */
export function alignDiskOnly(snapshot: Snapshot, description: DomainDescription): Snapshot {
  const request = withTargets(snapshot, description);
  const aligned = alignDisks(request, { defaultLocation: 'external', files: REGULAR_FILES });
  const leftOut = new Set(request.disks.filter(({ location }) => location === 'no').map(({ name }) => name));
  for (const { target, disk } of description.disks) {
    // Where it has no file, it would pass for an empty drive.
    const [active] = disk.images;
    if (active === undefined || active.path !== undefined || disk.readOnly || leftOut.has(target)) continue;
    throw unfit(`disk '${target}' is not in a file (${active.filename}); leave it out with snapshot=no`);
  }
  const disks = aligned.disks.map((disk) => alignedDisk(disk, findNamedDisk(description.disks, disk.name)));
  if (!disks.some(({ location }) => location === 'external')) throw unfit('nothing selected for snapshot');
  return { ...aligned, disks, state: 'disk-snapshot', memory: { location: 'no' } };
}

function alignedDisk(disk: SnapshotDisk, named: NamedDisk | undefined): SnapshotDisk {
  const { name, location, source } = disk;
  if (location === 'no') return disk;
  if (location === 'internal') {
    throw unfit(`active qemu domains require external disk snapshots; disk ${name} requested internal`);
  }
  if (location !== 'external') throw unfit(`disk '${name}': only external snapshots are taken over QMP`);
  const left = named && leftBecause(named.disk);
  if (left !== undefined) throw unfit(`disk '${name}' takes no part (${left}); leave it out with snapshot=no`);
  if (source.type !== 'file') throw unfit(`disk '${name}': only files are made over QMP`);
  const path = pathOf(source) ?? '';
  if (!path.startsWith('/')) throw unfit(`disk snapshot image path '${path}' must be absolute`);
  const format = disk.format ?? 'qcow2';
  if (format !== 'qcow2') throw unfit(`external snapshot format for disk ${name} is unsupported: ${format}`);
  if (disk.metadataCacheSize !== undefined) throw unfit(`disk '${name}': a metadata cache size is not set over QMP`);
  return { ...disk, format };
}

/** The new files of the disks that take part in an aligned snapshot. @throws SnapshotError VIR_ERR_CONFIG_UNSUPPORTED */
export function overlayFiles({ disks }: Snapshot, { disks: named }: DomainDescription): readonly OverlayFile[] {
  return disks.flatMap(({ name, location, source }) => {
    if (location !== 'external') return [];
    const disk = findNamedDisk(named, name)?.disk;
    const [active] = disk?.images ?? [];
    if (disk === undefined || active?.path === undefined) throw unfit(`disk '${name}' is not in a file`);
    return {
      disk: disk.id,
      source: pathOf(source) ?? '',
      active: { path: active.path, format: active.format },
      size: disk.size,
    };
  });
}
