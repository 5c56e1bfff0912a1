import { alignDisks, loadSnapshotSchema, parseSnapshot, pathOf, type Snapshot } from '../../domainsnapshot/index.ts';
import type { CreateFlag } from '../snapshot-driver.ts';
import { refusal, type SnapshotError } from '../snapshot-error.ts';
import { withTargets } from './disk-request.ts';
import { type DomainDescription, findNamedDisk } from './domain-description.ts';
import type { MirrorFiles } from './mirror-files.ts';
import { REGULAR_FILES } from './regular-files.ts';

function unsupported(text: string): SnapshotError {
  return refusal('VIR_ERR_OPERATION_UNSUPPORTED', text);
}

function unfit(text: string): SnapshotError {
  return refusal('VIR_ERR_CONFIG_UNSUPPORTED', text);
}

/**
 * Reads a request in which disks may have mirrors.
 * @throws DomainSnapshotError
 */
export function parseMirrored(xml: string, flags: readonly CreateFlag[]): Snapshot {
  const [redefine, validate] = [flags.includes('REDEFINE'), flags.includes('VALIDATE')];
  return parseSnapshot(xml, {
    flags: [
      'MIRROR',
      'TYPED_MIRROR',
      ...(redefine ? (['REDEFINE'] as const) : []),
      ...(validate ? (['VALIDATE'] as const) : []),
    ],
    ...(validate ? { schema: loadSnapshotSchema({ mirror: 'typed' }) } : {}),
  }).snapshot;
}

/** What can be taken: the disks, mirrored. @throws SnapshotError VIR_ERR_OPERATION_UNSUPPORTED */
export function checkMirrored(snapshot: Snapshot, flags: readonly CreateFlag[]): void {
  if (!flags.includes('DISK_ONLY') || snapshot.memory?.location === 'external') {
    throw unsupported('a mirrored snapshot is of the disks only: give --disk-only, and no memory');
  }
  for (const flag of ['HALT', 'LIVE', 'NO_METADATA'] as const) {
    if (flags.includes(flag)) throw unsupported(`${flag} does not go with a mirrored snapshot`);
  }
}

/**
 * Makes a request's disks those of the VM. Disks that are not named do not take part; those that are have a mirror, and a
 * source, whose name is made where none is given.
 * @throws SnapshotError, DomainSnapshotError VIR_ERR_CONFIG_UNSUPPORTED
 */
export function alignMirrored(snapshot: Snapshot, description: DomainDescription): Snapshot {
  const aligned = alignDisks(withTargets(snapshot, description), { defaultLocation: 'no', files: REGULAR_FILES });
  const disks = aligned.disks.map((disk) => {
    if (disk.location === 'no') return disk;
    const { name, mirror, source } = disk;
    if (mirror === undefined) throw unfit(`disk '${name}' has no mirror while others have one; leave it out`);
    if (mirror.target.type !== 'file' || source.type !== 'file') throw unfit(`disk '${name}': only files are mirrored`);
    const format = disk.format ?? 'qcow2';
    if (format !== 'qcow2' || (mirror.format ?? format) !== 'qcow2') {
      throw unfit(`external snapshot format for disk ${name} is unsupported: ${disk.format ?? mirror.format}`);
    }
    for (const path of [pathOf(source), mirror.target.path]) {
      if (!path?.startsWith('/')) throw unfit(`disk snapshot image path '${path ?? ''}' must be absolute`);
    }
    return { ...disk, format };
  });
  return { ...aligned, disks, state: 'disk-snapshot', memory: { location: 'no' } };
}

/** The files of each mirrored disk of an aligned snapshot. @throws SnapshotError VIR_ERR_CONFIG_UNSUPPORTED */
export function mirrorFiles({ disks }: Snapshot, { disks: named }: DomainDescription): readonly MirrorFiles[] {
  return disks.flatMap(({ name, source, mirror }) => {
    const disk = findNamedDisk(named, name)?.disk;
    const [active] = disk?.images ?? [];
    if (mirror === undefined || disk === undefined) return [];
    if (active?.path === undefined || mirror.target.type !== 'file') {
      throw refusal('VIR_ERR_CONFIG_UNSUPPORTED', `disk '${name}': only disks in files are mirrored`);
    }
    return {
      disk: disk.id,
      source: pathOf(source) ?? '',
      mirror: mirror.target.path ?? '',
      active: { path: active.path, format: active.format },
      size: disk.size,
    };
  });
}
