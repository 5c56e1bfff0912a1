import { stat } from 'node:fs/promises';
import type { MigrationPlan } from './plan.ts';

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
  return await Promise.all(
    disks.map(async ({ active: { realPath } }) => {
      const { dev, ino, size, mtimeNs } = await stat(realPath, { bigint: true });
      return { path: realPath, dev: String(dev), ino: String(ino), size: String(size), mtime: String(mtimeNs) };
    }),
  );
}

/**
 * Images that are not as they were stamped: somebody has written to what an overlay stands on. Device numbers may be
 * others after a reboot, so they do not count.
 */
export async function changedImages(plan: MigrationPlan, stamps: readonly Stamp[]): Promise<readonly string[]> {
  const now = await stampImages(plan);
  return stamps
    .filter((stamp) => {
      const found = now.find(({ path }) => path === stamp.path);
      return found?.ino !== stamp.ino || found.size !== stamp.size || found.mtime !== stamp.mtime;
    })
    .map(({ path }) => path);
}
