import { realpath, stat } from 'node:fs/promises';
import { sep } from 'node:path';
import { errnoOf } from '../base/index.ts';

/** Whether two names lead to the same file. A name that leads nowhere is the same as none. */
export async function sameFile(a: string, b: string): Promise<boolean> {
  try {
    const [first, second] = await Promise.all([stat(a, { bigint: true }), stat(b, { bigint: true })]);
    return first.dev === second.dev && first.ino === second.ino;
  } catch (error) {
    if (['ENOENT', 'ENOTDIR'].includes(errnoOf(error) ?? '')) return false;
    throw error;
  }
}

/** Whether a path is a folder or lies below it, once symbolic links are resolved. Both must exist. */
export async function isInside(path: string, folder: string): Promise<boolean> {
  const [real, realFolder] = await Promise.all([realpath(path), realpath(folder)]);
  return real === realFolder || real.startsWith(realFolder === sep ? sep : realFolder + sep);
}
