import { dirname } from 'node:path';
import type { Host } from '../host.ts';
import type { MigrationPlan } from '../plan/plan.ts';

/**
 * Whether the storage that a path of this plan is on is mounted: an empty mount point is on another device. Where it is
 * not, a file that is not found may be there all the same.
 */
export async function isMounted(
  host: Pick<Host, 'fileMark'>,
  path: string,
  { storages, disks }: MigrationPlan,
): Promise<boolean> {
  const folder = dirname(path);
  const device = (await host.fileMark(folder))?.dev;
  const onSource = disks.some(({ active }) => dirname(active.realPath) === folder);
  return storages.some((storage) => storage.device === device && (onSource || storage.role !== 'source'));
}
