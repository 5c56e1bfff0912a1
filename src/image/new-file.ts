import { type FileHandle, open, rm } from 'node:fs/promises';
import { errnoOf, ferryError, messageOf } from '../base/index.ts';
import type { Owner } from './image-info.ts';

/**
 * Makes an empty file that nobody else can open yet; never takes over one that exists.
 * @throws FerryError TARGET_EXISTS, TARGET_REFUSED (no such folder, no permission, read-only file system, …)
 */
export async function createFile(path: string, replace: boolean): Promise<void> {
  try {
    // Removed, not truncated: a process that still has the old file open must not write into the new one.
    if (replace) await rm(path, { force: true });
    const file = await open(path, 'wx', 0o600);
    await file.close();
  } catch (error) {
    if (errnoOf(error) === 'EEXIST') throw ferryError('TARGET_EXISTS', { path });
    throw ferryError('TARGET_REFUSED', { path, reason: messageOf(error) }, { cause: error });
  }
}

/**
 * Gives a file the owner, group and permissions that let the VM's QEMU open it. chown(2) is called only when there is
 * something to change: it needs root.
 * @throws FerryError IMAGE_OWNER
 */
export async function setOwner(path: string, owner: Owner): Promise<void> {
  await using file = await open(path, 'r');
  await setFileOwner(path, file, owner);
}

async function setFileOwner(path: string, file: FileHandle, { uid, gid, mode }: Owner): Promise<void> {
  try {
    const stat = await file.stat();
    if (stat.uid !== uid || stat.gid !== gid) await file.chown(uid, gid);
    // After chown, which may clear bits.
    await file.chmod(mode & 0o777);
  } catch (error) {
    throw ferryError('IMAGE_OWNER', { path, uid, gid, reason: messageOf(error) }, { cause: error });
  }
}
