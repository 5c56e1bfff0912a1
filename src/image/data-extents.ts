import { isFerryError } from '../base/index.ts';
import { fileNode, jsonName, qemuImg } from './qemu-img.ts';

/** A piece of a file that may hold data: [start, end) in bytes. */
export type Extent = readonly [start: number, end: number];

interface MapEntry {
  readonly start: number;
  readonly length: number;
  readonly zero: boolean;
}

/**
 * Where a file may hold data; the rest are holes, which read as zeroes (`qemu-img map`, which asks SEEK_HOLE). A file in
 * more pieces than is reasonable to list counts as data from end to end.
 */
export async function dataExtents(path: string, blockDevice: boolean, size: number): Promise<readonly Extent[]> {
  const node = jsonName({ driver: 'raw', file: fileNode(path, blockDevice) });
  try {
    const { stdout } = await qemuImg(path, ['map', '--output=json', node], { maxOutput: 2 ** 25 });
    const entries = JSON.parse(stdout) as readonly MapEntry[];
    return entries.flatMap(({ start, length, zero }) => (zero ? [] : [[start, start + length] as const]));
  } catch (error) {
    if (!isFerryError(error, 'TOOL_FAILED')) throw error;
    return [[0, size]];
  }
}

/** The numbers of the pieces of `pieceSize` bytes that any of these extents touches, ascending. */
export function* touchedPieces(extents: readonly Extent[], pieceSize: number): Generator<number, void> {
  let next = 0;
  for (const [start, end] of extents.toSorted((a, b) => a[0] - b[0])) {
    const last = Math.ceil(end / pieceSize);
    for (let piece = Math.max(next, Math.floor(start / pieceSize)); piece < last; piece += 1) yield piece;
    next = Math.max(next, last);
  }
}
