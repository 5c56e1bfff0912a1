import { dirname } from 'node:path';
import { type Disk, findDisk } from '../../vm/index.ts';
import type { MigrationRequest } from './request.ts';

export interface DiskChoice {
  readonly chosen: readonly { readonly disk: Disk; readonly folder?: string }[];
  /** Drives that stay where they are, and why. */
  readonly left: readonly { readonly disk: string; readonly reason: string }[];
  /** Names that no disk has. */
  readonly unknown: readonly string[];
}

/** Why a drive is not one that a migration moves; undefined for a disk that is. */
export function leftBecause(disk: Disk): string | undefined {
  if (disk.rootNode === undefined) return 'the drive is empty';
  if (disk.deviceType.startsWith('cfi.pflash')) return 'it is firmware, which is small and stays beside the VM';
  if (disk.removable) return 'it is a removable medium (CD-ROM or floppy)';
  if (disk.readOnly) return 'it is read-only';
  return undefined;
}

/** Which disks move: those that were named, or every one that the guest can write to. */
export function chooseDisks(disks: readonly Disk[], request: MigrationRequest): DiskChoice {
  const left: { disk: string; reason: string }[] = [];
  const chosen: { disk: Disk; folder?: string }[] = [];
  const unknown = request.disks.filter(({ name }) => findDisk(disks, name) === undefined).map(({ name }) => name);
  for (const disk of disks) {
    const named = request.disks.find(({ name }) => findDisk(disks, name)?.id === disk.id);
    const reason = leftBecause(disk);
    if (named === undefined && (request.disks.length > 0 || reason !== undefined)) {
      left.push({ disk: disk.id, reason: reason ?? 'it was not asked for' });
      continue;
    }
    const folder = named?.to ?? request.to;
    chosen.push({ disk, ...(folder === undefined ? {} : { folder }) });
  }
  return { chosen, left, unknown };
}

/** Whether every disk that a request asks for is in its folder already. */
export function disksAreThere(disks: readonly Disk[], request: MigrationRequest): boolean {
  const { chosen, unknown } = chooseDisks(disks, request);
  const there = chosen.every(({ disk, folder }) => {
    const path = disk.images[0]?.path;
    return path !== undefined && dirname(path) === folder;
  });
  return there && chosen.length > 0 && unknown.length === 0;
}
