import { constants } from 'node:fs';
import { type FileHandle, open, stat } from 'node:fs/promises';
import { ferryError } from '../base/index.ts';

/**
 * Opens, to be read, a file of which nothing but the name is known, and that perhaps from the header of a hostile image:
 * only a regular file or a block device is opened at all. Others may act on it: a pipe lets its writer go on, a tape
 * rewinds, a watchdog begins to count and reboots the host.
 * @throws FerryError IMAGE_KIND; the errors of `open`
 */
export async function openImage(path: string): Promise<FileHandle> {
  refuseOther(path, await stat(path));
  // It may have been replaced meanwhile: without O_NONBLOCK the opening of a pipe would wait for a writer.
  const file = await open(path, constants.O_RDONLY | constants.O_NONBLOCK | constants.O_NOCTTY);
  try {
    refuseOther(path, await file.stat());
    return file;
  } catch (error) {
    await file.close();
    throw error;
  }
}

function refuseOther(path: string, file: { isFile(): boolean; isBlockDevice(): boolean }): void {
  if (!file.isFile() && !file.isBlockDevice()) throw ferryError('IMAGE_KIND', { path });
}
