import { rm } from 'node:fs/promises';
import { dirname } from 'node:path';
import { ferryError } from '../base/index.ts';
import type { Owner } from './image-info.ts';
import { createFile, setOwner } from './new-file.ts';
import { openImage } from './open-image.ts';
import { readQcow2Header } from './qcow2-header.ts';
import { qemuImg } from './qemu-img.ts';
import { syncFile, syncFolder } from './sync.ts';

/** A backing image as a header has it. `relativeBackingName` makes the name. */
export interface BackingReference {
  /** Stored exactly as given. */
  readonly name: string;
  readonly format: string;
}

export interface OverlayOptions {
  /** Absolute path of the new file. */
  readonly path: string;
  /** Bytes; that of the image below, to the byte. */
  readonly virtualSize: number;
  /** Undefined: it stands on nothing. */
  readonly backing?: BackingReference;
  /** Of the image that the VM has open now. The owner can always read and write the overlay, whatever the mode says. */
  readonly owner: Owner;
  readonly signal?: AbortSignal;
}

/** 128 KiB clusters of 32 subclusters: a 4 KiB guest write allocates 4 KiB, and 12 times less is copied on write. */
const OVERLAY_FORMAT = 'extended_l2=on,cluster_size=128k';

/**
 * Makes an empty qcow2 overlay (`qemu-img create -u`: the backing image is not opened and need not exist), synced.
 * Leaves no file behind when it fails.
 * @throws FerryError TARGET_EXISTS, TARGET_REFUSED, IMAGE_OWNER, TOOL_MISSING, TOOL_FAILED
 */
export async function createOverlay({ path, virtualSize, backing, owner, signal }: OverlayOptions): Promise<void> {
  await createFile(path, false);
  try {
    const below = backing ? ['-b', backing.name, '-F', backing.format] : [];
    const args = ['create', '-q', '-u', '-f', 'qcow2', '-o', OVERLAY_FORMAT, ...below, path, String(virtualSize)];
    await qemuImg(path, args, signal ? { signal } : {});
    await setOwner(path, { ...owner, mode: owner.mode | 0o600 });
    await syncFile(path);
    await syncFolder(dirname(path));
  } catch (error) {
    await rm(path, { force: true });
    throw error;
  }
}

/**
 * Changes the backing name in a qcow2 header, or takes it out; touches no data (`qemu-img rebase -u`). Synced. The
 * caller answers for the new backing image holding the same bytes.
 * @throws FerryError IMAGE_DATA_FILE, IMAGE_IN_USE, IMAGE_UNREADABLE, TOOL_MISSING, TOOL_FAILED
 */
export async function rewriteBacking(path: string, backing: BackingReference | undefined): Promise<void> {
  await refuseDataFile(path);
  const reference = backing ? ['-b', backing.name, '-F', backing.format] : ['-b', ''];
  await qemuImg(path, ['rebase', '-q', '-u', '-f', 'qcow2', ...reference, path]);
  await syncFile(path);
}

/** qemu-img would open, for writing, whatever file the header names for the image's data. */
async function refuseDataFile(path: string): Promise<void> {
  await using file = await openImage(path);
  const dataFile = (await readQcow2Header(file))?.dataFile;
  if (dataFile !== undefined) throw ferryError('IMAGE_DATA_FILE', { path, dataFile });
}
