import { stat, statfs } from 'node:fs/promises';
import type { ImageInfo } from './image-info.ts';

/** The file system that a path is on. Sizes in bytes. */
export interface StorageSpace {
  /** What a process without privileges can still write: the VM's QEMU is one. */
  readonly free: number;
  readonly total: number;
  /** Device number in decimal: two paths with the same one share their space. */
  readonly device: string;
}

/** statfs(2) of a file or folder that exists. */
export async function storageSpace(path: string): Promise<StorageSpace> {
  const [space, { dev }] = await Promise.all([statfs(path), stat(path, { bigint: true })]);
  return { free: space.bavail * space.bsize, total: space.blocks * space.bsize, device: String(dev) };
}

/** The block of most file systems; a copy allocates whole ones. */
const BLOCK = 4096;

/**
 * The bytes that copies of these images will allocate where blocks cannot be shared: what they occupy now, and never more
 * than they are long (space that is reserved beyond the end is not copied). An image that occurs twice is copied once.
 */
export function spaceNeeded(
  images: readonly Pick<ImageInfo, 'allocated' | 'fileSize' | 'blockDevice' | 'dev' | 'ino'>[],
): number {
  const distinct = new Map(images.map((image) => [`${image.dev}:${image.ino}`, image]));
  return [...distinct.values()].reduce((sum, { allocated, fileSize, blockDevice }) => {
    const length = Math.ceil(fileSize / BLOCK) * BLOCK;
    return sum + (blockDevice ? length : Math.min(allocated, length));
  }, 0);
}
