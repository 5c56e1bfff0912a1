import { open, rm } from 'node:fs/promises';
import { dirname } from 'node:path';

/** Brings a file's data and the metadata needed to read it to the storage (fdatasync(2)). */
export async function syncFile(path: string): Promise<void> {
  await using file = await open(path, 'r');
  await file.datasync();
}

/** Brings the names in a folder to the storage (fsync(2) on it): a new file is not durable before this. */
export async function syncFolder(path: string): Promise<void> {
  await using folder = await open(path, 'r');
  await folder.sync();
}

/** Removes a file, if it is there, so that it stays removed whatever happens next. */
export async function removeFile(path: string): Promise<void> {
  await rm(path, { force: true });
  await syncFolder(dirname(path));
}
