import { realpathSync } from 'node:fs';
import { isFerryError, messageOf } from '../../base/index.ts';
import { isEmptyOverlay, probeImage, resolveBackingName, sameFile } from '../../image/index.ts';
import { refusal } from '../snapshot-error.ts';

/** The new file of a disk, by the name that the user gave or that was made for it. */
export interface OverlayFile {
  readonly disk: string;
  /** The file that takes the guest's writes. */
  readonly source: string;
  /** What is active now. */
  readonly active: { readonly path: string; readonly format: string };
  /** Bytes that the guest sees. */
  readonly size: number;
}

/**
 * Checks a file that the user has prepared (`--reuse-external`): an empty qcow2 overlay of the disk's size, on the active
 * image.
 * @throws SnapshotError, or FerryError for a file that cannot be read
 */
export async function checkPrepared(file: OverlayFile): Promise<void> {
  await checkEmptyOverlay(file, file.source);
  const below = await backingOf(file.source);
  if (below === undefined || !(await sameFile(below, file.active.path).catch(() => false))) {
    throw unfitFile(file.source, `its backing file is ${below ?? 'none'}, not ${file.active.path}`);
  }
}

/** @throws SnapshotError, or FerryError for a file that cannot be read */
export async function checkEmptyOverlay({ size, active }: OverlayFile, path: string): Promise<void> {
  const { virtualSize, backing } = await probePrepared(path);
  if (virtualSize !== size) throw unfitFile(path, `it has a size of ${virtualSize} bytes, the disk has ${size}`);
  if (backing?.format !== active.format) {
    throw unfitFile(
      path,
      `its header states the format ${backing?.format ?? 'of nothing'} for what is below it, not ${active.format}`,
    );
  }
  if (!(await isEmptyOverlay(path))) throw unfitFile(path, 'it is not empty');
}

async function probePrepared(path: string): ReturnType<typeof probeImage> {
  try {
    return await probeImage(path, { format: 'qcow2' });
  } catch (error) {
    if (isFerryError(error, 'IMAGE_MISSING')) throw unfitFile(path, 'it does not exist');
    if (isFerryError(error, 'IMAGE_BROKEN')) throw unfitFile(path, messageOf(error));
    throw error;
  }
}

/** A prepared file is not what it has to be. */
export function unfitFile(path: string, what: string): Error {
  return refusal('VIR_ERR_CONFIG_UNSUPPORTED', `the prepared file ${path} does not fit: ${what}`);
}

/** What the header of an overlay names as the image below, as QEMU would open it. */
export async function backingOf(path: string): Promise<string | undefined> {
  const { backing, realPath } = await probeImage(path, { format: 'qcow2', shared: true });
  return backing && resolveBackingName(realPath, backing.written);
}

/** Names that may not be given twice, or to what is there already. @throws SnapshotError VIR_ERR_CONFIG_UNSUPPORTED */
export function checkNames(all: readonly (OverlayFile & { readonly mirror?: string })[]): void {
  const taken = new Set(all.map(({ active }) => realOf(active.path)));
  for (const path of all.flatMap(({ source, mirror }) => (mirror === undefined ? [source] : [source, mirror]))) {
    const real = realOf(path);
    if (taken.has(real)) {
      throw refusal('VIR_ERR_CONFIG_UNSUPPORTED', `the file ${path} is asked for twice, or is an image that is in use`);
    }
    taken.add(real);
  }
}

function realOf(path: string): string {
  try {
    return realpathSync(path);
  } catch {
    // It is still to be made.
    return path;
  }
}
