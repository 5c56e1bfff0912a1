import type { FileHandle } from 'node:fs/promises';

/**
 * What a qcow2 header says, read by ourselves before QEMU's tools open the image: they would open an external data file
 * that a hostile header names. Format: docs/interop/qcow2.txt of QEMU.
 */
export interface Qcow2Header {
  readonly version: number;
  readonly virtualSize: number;
  readonly clusterSize: number;
  readonly backingName?: string;
  readonly backingFormat?: string;
  readonly encrypted: boolean;
  readonly snapshotCount: number;
  readonly dirty: boolean;
  readonly corrupt: boolean;
  readonly extendedL2: boolean;
  /** Set when the data lies in an external file: its name, or '' when the header has none. */
  readonly dataFile?: string;
}

const MAGIC = 0x51_46_49_fb;
const MAX_NAME = 1023;
const MAX_CLUSTER = 2 ** 21;
/** The extensions end with the first cluster; real ones take a few hundred bytes. */
const EXTENSION_AREA = 65_536;
const EXTENSION = { end: 0, backingFormat: 0xe2_79_2a_ca, dataFile: 0x44_41_54_41 } as const;
const INCOMPATIBLE = { dirty: 1n, corrupt: 2n, dataFile: 4n, extendedL2: 16n } as const;

/** Whether a file that begins with these bytes is a qcow2 image (version 2 or 3). */
export function isQcow2(start: Buffer): boolean {
  return start.length >= 72 && start.readUInt32BE(0) === MAGIC && [2, 3].includes(start.readUInt32BE(4));
}

/** Reads the header of an open image; undefined when it is not a qcow2 image of version 2 or 3. Reads at most 66 KiB. */
export async function readQcow2Header(file: FileHandle): Promise<Qcow2Header | undefined> {
  const start = await readAt(file, 0, EXTENSION_AREA);
  if (!isQcow2(start)) return undefined;
  const version = start.readUInt32BE(4);
  const features = version >= 3 && start.length >= 104 ? start.readBigUInt64BE(72) : 0n;
  const extensions = readExtensions(start, version >= 3 && start.length >= 104 ? start.readUInt32BE(100) : 72);
  const backingName = await readBackingName(file, start);
  const backingFormat = extensions.get(EXTENSION.backingFormat);
  return {
    version,
    virtualSize: Number(start.readBigUInt64BE(24)),
    clusterSize: 2 ** start.readUInt32BE(20),
    ...(backingName !== undefined && { backingName }),
    ...(backingFormat && { backingFormat }),
    encrypted: start.readUInt32BE(32) !== 0,
    snapshotCount: start.readUInt32BE(60),
    dirty: (features & INCOMPATIBLE.dirty) !== 0n,
    corrupt: (features & INCOMPATIBLE.corrupt) !== 0n,
    extendedL2: (features & INCOMPATIBLE.extendedL2) !== 0n,
    ...((features & INCOMPATIBLE.dataFile) !== 0n && { dataFile: extensions.get(EXTENSION.dataFile) ?? '' }),
  };
}

async function readBackingName(file: FileHandle, start: Buffer): Promise<string | undefined> {
  const offset = Number(start.readBigUInt64BE(8));
  const length = start.readUInt32BE(16);
  if (offset === 0 || length === 0) return undefined;
  // QEMU refuses both of these when it opens the image.
  if (offset > MAX_CLUSTER || length > MAX_NAME) return undefined;
  return (await readAt(file, offset, length)).toString('utf8');
}

function readExtensions(start: Buffer, from: number): Map<number, string> {
  const found = new Map<number, string>();
  let at = from;
  while (at + 8 <= start.length) {
    const type = start.readUInt32BE(at);
    const length = start.readUInt32BE(at + 4);
    if (type === EXTENSION.end || at + 8 + length > start.length) break;
    found.set(type, start.toString('utf8', at + 8, at + 8 + length));
    at += 8 + Math.ceil(length / 8) * 8;
  }
  return found;
}

/** Reads up to `length` bytes; fewer only at the end of the file. */
export async function readAt(file: FileHandle, offset: number, length: number): Promise<Buffer> {
  const buffer = Buffer.alloc(length);
  let filled = 0;
  while (filled < length) {
    const { bytesRead } = await file.read(buffer, filled, length - filled, offset + filled);
    if (bytesRead === 0) break;
    filled += bytesRead;
  }
  return buffer.subarray(0, filled);
}
