import { statSync } from 'node:fs';
import { errnoOf } from '../../base/index.ts';
import type { FileSystem } from '../../domainsnapshot/index.ts';

/** What is asked of the file system before a name is made. */
export const REGULAR_FILES: FileSystem = {
  isRegularFile(path: string): boolean {
    try {
      return statSync(path).isFile();
    } catch (error) {
      if (errnoOf(error) === undefined) throw error;
      return false;
    }
  },
};
