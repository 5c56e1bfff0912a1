import { lstat } from 'node:fs/promises';
import { errnoOf } from '../base/index.ts';

/**
 * Which file it is that the ledger speaks of. The inode alone does not tell: file systems give the number of a file that was
 * removed to the next one.
 */
export interface FileMark {
  readonly dev: string;
  readonly ino: string;
  /** When the file was made, in nanoseconds since 1970; 0 where the file system does not know. */
  readonly born: string;
}

/** Symbolic links are not followed. Undefined where there is no such file. */
export async function fileMark(path: string): Promise<FileMark | undefined> {
  try {
    const { dev, ino, birthtimeNs } = await lstat(path, { bigint: true });
    return { dev: String(dev), ino: String(ino), born: String(birthtimeNs) };
  } catch (error) {
    if (['ENOENT', 'ENOTDIR'].includes(errnoOf(error) ?? '')) return undefined;
    throw error;
  }
}

/** Device numbers may be others after a reboot, and a file system that does not know when a file was made proves nothing. */
export function sameMark(a: FileMark, b: FileMark): boolean {
  return a.ino === b.ino && a.born === b.born && a.born !== '0';
}

/** Of a file that was made empty, for somebody else to fill: what it looked like, as in a `Stamp`. */
export interface PlaceholderMark extends FileMark {
  readonly size: string;
  readonly mtime: string;
}

export function isPlaceholder(mark: FileMark): mark is PlaceholderMark {
  return 'mtime' in mark && 'size' in mark;
}
