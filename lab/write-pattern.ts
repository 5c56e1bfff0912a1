/**
 * What a recording writer writes, as a pure function of its settings and the sequence number of a write. The guest's
 * writer (guest/writer.pl), writers on the host and the checker all follow this page, so that a record of a million
 * writes is one number: the highest acknowledged sequence.
 *
 * Write n (from 1) of a writer goes to one block of its region, `blockIndex`:
 *
 *     x = (seed + n * 0x9E3779B9) mod 2^32
 *     x ^= x << 13; x ^= x >>> 17; x ^= x << 5        (each in 32 bits)
 *     index = x mod (region.length / blockSize)
 *
 * It writes zeros when n is a multiple of `zeroEvery`, else discards when n is a multiple of `discardEvery`, else data:
 *
 *     byte 0  "BFRY"
 *          4  u32le seed
 *          8  u64le n
 *         16  u64le byte offset of the block on the disk
 *         24  filler up to blockSize: u32le seed, u32le (n mod 2^32), repeated
 */

/** Where and what a writer writes. All numbers are whole; sizes and offsets are in bytes. */
export interface WritePattern {
  /** 0 to 2^32-1. Writers that write to one disk must differ in it. */
  readonly seed: number;
  /** Bytes of one write; a multiple of 512. */
  readonly blockSize: number;
  /** The part of the disk that is written; both a multiple of blockSize. */
  readonly region: { readonly offset: number; readonly length: number };
  /** Every so many writes is a write of zeros (BLKZEROOUT in the guest); 0: none. */
  readonly zeroEvery: number;
  /** Every so many writes is a discard (BLKDISCARD): what the block reads as afterwards is undefined; 0: none. */
  readonly discardEvery: number;
}

/** What a writer did to a disk: the input of the check for lost writes. */
export interface WriteRecord extends WritePattern {
  /** The lab's id of the disk. */
  readonly disk: string;
  /** Writes 1 to this one were acknowledged: written and flushed before the writer reported them. */
  readonly acknowledged: number;
  /** Writes up to this one may have been begun; those past `acknowledged` may be on the disk, whole, in part or not. */
  readonly begun: number;
}

export type WriteKind = 'data' | 'zero' | 'discard';

export const WRITE_MAGIC = 'BFRY';
/** Bytes of the header of each block of data. */
export const WRITE_HEADER_SIZE = 24;

/** What write `n` does. */
export function writeKind(pattern: WritePattern, n: number): WriteKind {
  if (pattern.zeroEvery > 0 && n % pattern.zeroEvery === 0) return 'zero';
  if (pattern.discardEvery > 0 && n % pattern.discardEvery === 0) return 'discard';
  return 'data';
}

/** The block of the region that write `n` goes to, from 0. */
export function blockIndex(pattern: WritePattern, n: number): number {
  let x = (pattern.seed + Math.imul(n, 0x9e3779b9)) >>> 0;
  x ^= x << 13;
  x ^= x >>> 17;
  x ^= x << 5;
  return (x >>> 0) % (pattern.region.length / pattern.blockSize);
}

/** The byte offset on the disk that write `n` goes to. */
export function writeOffset(pattern: WritePattern, n: number): number {
  return pattern.region.offset + blockIndex(pattern, n) * pattern.blockSize;
}

/** The contents of write `n`, which must be one of data. */
export function writeContents(pattern: WritePattern, n: number): Buffer {
  const block = Buffer.alloc(pattern.blockSize);
  for (let at = WRITE_HEADER_SIZE; at < block.length; at += 8) {
    block.writeUInt32LE(pattern.seed, at);
    block.writeUInt32LE(n >>> 0, at + 4);
  }
  block.write(WRITE_MAGIC, 0, 'latin1');
  block.writeUInt32LE(pattern.seed, 4);
  block.writeBigUInt64LE(BigInt(n), 8);
  block.writeBigUInt64LE(BigInt(writeOffset(pattern, n)), 16);
  return block;
}

/** The header of a block of data, or undefined where the block does not begin with one. */
export function readWriteHeader(block: Buffer): { seed: number; sequence: number; offset: number } | undefined {
  if (block.length < WRITE_HEADER_SIZE || block.toString('latin1', 0, 4) !== WRITE_MAGIC) return undefined;
  return {
    seed: block.readUInt32LE(4),
    sequence: Number(block.readBigUInt64LE(8)),
    offset: Number(block.readBigUInt64LE(16)),
  };
}
