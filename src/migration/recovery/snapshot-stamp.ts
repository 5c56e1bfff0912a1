import { stat } from 'node:fs/promises';
import { errnoOf } from '../../base/index.ts';
import type { MigrationPlan } from '../plan/plan.ts';

/** What a file below an overlay looked like when it was frozen: whoever changes it changes one of these. */
export interface Stamp {
  readonly path: string;
  readonly dev: string;
  readonly ino: string;
  readonly size: string;
  /** Nanoseconds since 1970 of the last change of its contents. */
  readonly mtime: string;
}

/** Stamps the active images; to be called when the snapshot has frozen them. */
export async function stampImages({ disks }: MigrationPlan): Promise<readonly Stamp[]> {
  return await Promise.all(disks.map(({ active }) => stampOf(active.realPath)));
}

/**
 * Images that are there and not as they were stamped: somebody has written to what an overlay stands on. Device numbers
 * may be others after a reboot, so they do not count.
 */
export async function changedImages(stamps: readonly Stamp[]): Promise<readonly string[]> {
  const changed: string[] = [];
  for (const stamp of stamps) {
    const now = await stampOf(stamp.path).catch(ignoreMissing);
    if (now === undefined) continue;
    if (now.ino !== stamp.ino || now.size !== stamp.size || now.mtime !== stamp.mtime) changed.push(stamp.path);
  }
  return changed;
}

async function stampOf(path: string): Promise<Stamp> {
  const { dev, ino, size, mtimeNs } = await stat(path, { bigint: true });
  return { path, dev: String(dev), ino: String(ino), size: String(size), mtime: String(mtimeNs) };
}

function ignoreMissing(error: unknown): undefined {
  if (errnoOf(error) !== 'ENOENT') throw error;
}
