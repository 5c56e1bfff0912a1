import { relativeBackingName } from '../../image/index.ts';
import type { MigrationRequest } from './request.ts';

/**
 * The name by which an image on the target names the one below it: relative, so that the chain may be put elsewhere. Where
 * a symbolic link at the old path is asked for it is absolute: QEMU does not follow the link when it looks for a relative
 * name, so it would look in the old folder.
 */
export function targetBacking({ leaveLink }: Pick<MigrationRequest, 'leaveLink'>, from: string, to: string): string {
  return leaveLink ? to : relativeBackingName(from, to);
}
