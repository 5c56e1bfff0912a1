import { ferryError } from '../base/index.ts';
import { fileNode, jsonName, qemuImg } from './qemu-img.ts';

/** An image by its file, and the format that is stated for it. */
export interface StatedImage {
  readonly path: string;
  readonly format: string;
}

interface Extent {
  readonly present?: boolean;
  readonly data: boolean;
}

/**
 * Whether nothing was ever written to a qcow2 file: all of it comes from the image below, which is not opened.
 * @throws FerryError IMAGE_IN_USE, IMAGE_UNREADABLE, TOOL_MISSING, TOOL_FAILED
 */
export async function isEmptyOverlay(path: string): Promise<boolean> {
  const alone = jsonName({ driver: 'qcow2', file: fileNode(path, false), backing: null });
  const { stdout } = await qemuImg(path, ['map', '--output=json', alone]);
  return (JSON.parse(stdout) as readonly Extent[]).every(({ present, data }) => !(present ?? data));
}

/**
 * Whether a guest would read the same from two images and what is below them, to the last byte (`qemu-img compare`; both
 * may be open elsewhere). Their files may differ: in format, in depth, in where the data lies.
 * @throws FerryError IMAGE_UNREADABLE, TOOL_MISSING, TOOL_FAILED
 */
export async function hasSameContent(one: StatedImage, other: StatedImage, signal?: AbortSignal): Promise<boolean> {
  const named = [one, other].map(({ path, format }) => jsonName({ driver: format, file: fileNode(path, false) }));
  const { status, stdout } = await qemuImg(other.path, ['compare', '-q', '-U', ...named], {
    accept: [0, 1],
    ...(signal ? { signal } : {}),
  });
  if (stdout !== '') throw ferryError('INTERNAL', { what: `qemu-img compare said ${stdout}` });
  return status === 0;
}
