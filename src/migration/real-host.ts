import { readlink, rename, stat, symlink } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import {
  copyImage,
  createOverlay,
  cutImageServer,
  endImageServer,
  foldOffline,
  imageServerAnswers,
  imageSocket,
  openersOf,
  probeChain,
  probeImage,
  removeFile,
  rewriteBacking,
  serveImages,
  storageAnswers,
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
  cutImageServer,
  endImageServer,
  imageServerAnswers,

  // Of the runtime folders a VM whose unit has a private /tmp sees this one.
  serverFolder: (id, n) =>
    join(process.getuid?.() === 0 ? '/run' : (process.env['XDG_RUNTIME_DIR'] ?? tmpdir()), `blockferry-${id}-${n}`),

  async serveImages(folder, images, { pid }) {
    // The owner of a process's folder is the user that it runs as.
    const { uid } = await stat(`/proc/${pid}`);
    await serveImages(folder, images, uid);
    return imageSocket(folder);
  },

  syncFile,
  syncFolder,
  removeFile,
  fileMark,
  openersOf,
  storageAnswers,
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
