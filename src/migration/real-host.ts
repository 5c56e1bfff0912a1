import { readlink, rename, stat, symlink } from 'node:fs/promises';
import { dirname } from 'node:path';
import {
  copyImage,
  createOverlay,
  foldOffline,
  openersOf,
  probeChain,
  probeImage,
  removeFile,
  rewriteBacking,
  storageSpace,
  syncFile,
  syncFolder,
  verifyCopy,
} from '../image/index.ts';
import { MigrationOwner } from '../journal/index.ts';
import { fileMark } from './file-mark.ts';
import type { Host } from './host.ts';

/** This host. */
export const realHost: Host = {
  createOverlay,
  copyImage,
  verifyCopy,
  probeImage,
  probeChain,
  rewriteBacking,
  foldOffline,
  syncFile,
  syncFolder,
  removeFile,
  fileMark,
  openersOf,
  storageSpace,

  async renameFile(path, to) {
    await rename(path, to);
    await syncFolder(dirname(path));
  },

  makeLink: symlink,

  readLink: (path) => readlink(path).catch(() => undefined),

  async stampOf(path) {
    const { dev, ino, size, mtimeNs } = await stat(path, { bigint: true });
    return { path, dev: String(dev), ino: String(ino), size: String(size), mtime: String(mtimeNs) };
  },

  claim: (stateDir, id, handler, clock) => MigrationOwner.claim(stateDir, id, handler, clock),
};
