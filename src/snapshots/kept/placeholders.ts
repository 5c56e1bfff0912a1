import { basename, dirname, join } from 'node:path';
import { isFerryError } from '../../base/index.ts';
import { probeImage, resolveBackingName, sameFile } from '../../image/index.ts';
import type { PlannedDisk, PlannedPlaceholder, Survey } from '../../migration/index.ts';
import type { MirrorFiles } from './mirror-files.ts';
import { backingOf } from './overlay-file.ts';

/** The copy of a disk's active image: what a prepared mirror names, or that image's name beside the mirror. */
export async function chainTop({ mirror }: MirrorFiles, disk: PlannedDisk, prepared: boolean): Promise<string> {
  const named = prepared ? await backingOf(mirror) : undefined;
  return named ?? join(dirname(mirror), basename(disk.active.path));
}

/**
 * The images of the target's chains that are not there yet, as the user's copies are going to name each other: byte for
 * byte, so by the source's names. Where an image is there already, its own header counts.
 */
export async function placeholders(
  { disks: surveyed }: Survey,
  disks: readonly PlannedDisk[],
): Promise<readonly PlannedPlaceholder[]> {
  const missing = new Map<string, PlannedPlaceholder>();
  for (const { id, target } of disks) {
    const chain = surveyed.find(({ disk }) => disk.id === id)?.chain ?? [];
    let path: string | undefined = target;
    for (const { realPath, format, virtualSize, owner, backing } of chain) {
      if (path === undefined) break;
      const there = await backingOfExisting(path, format);
      if (there !== undefined) {
        // An absolute name leads to the source, which is not to be replaced.
        if (await sameFile(path, realPath)) break;
        path = there.backing;
        continue;
      }
      const named = backing && { name: backing.written, format: backing.format ?? 'raw' };
      missing.set(path, { path, size: virtualSize, owner, ...(named && { backing: named }) });
      path = backing && resolveBackingName(path, backing.written);
    }
  }
  return [...missing.values()];
}

/** What an image names below it; undefined where there is no such file. @throws FerryError for one that cannot be read */
async function backingOfExisting(path: string, format: string): Promise<{ readonly backing?: string } | undefined> {
  try {
    const { realPath, backing } = await probeImage(path, { format, shared: true });
    return backing === undefined ? {} : { backing: resolveBackingName(realPath, backing.written) };
  } catch (error) {
    if (isFerryError(error, 'IMAGE_MISSING')) return undefined;
    throw error;
  }
}
