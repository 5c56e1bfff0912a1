import {
  blockIndex,
  readWriteHeader,
  WRITE_HEADER_SIZE,
  type WriteKind,
  type WriteRecord,
  writeContents,
  writeKind,
} from './write-pattern.ts';

/** Reads bytes of a disk, as the guest sees it. */
export type ReadDisk = (offset: number, length: number) => Promise<Buffer>;

/** A block of the disk that does not hold what it must. Offsets in bytes. */
export interface LostWrite {
  readonly offset: number;
  /** The last acknowledged write to the block, or 0 where nothing was acknowledged there. */
  readonly sequence: number;
  readonly kind: WriteKind | 'never written';
  /** What is there instead, in words that a person reads. */
  readonly found: string;
}

export interface WriteCheck {
  readonly disk: string;
  /** How many writes were acknowledged. */
  readonly acknowledged: number;
  /** How many blocks of the region hold an acknowledged write that nothing acknowledged has overwritten. */
  readonly writtenBlocks: number;
  /** How many blocks of the region were compared with what was there before. */
  readonly untouchedBlocks: number;
  /** How many acknowledged writes are not there. */
  readonly lostCount: number;
  /** How many blocks hold something else although no acknowledged write went there. */
  readonly damagedCount: number;
  /** The first of the lost writes and the damaged blocks, in the order of the disk. */
  readonly lost: readonly LostWrite[];
}

export interface CheckOptions {
  /** What the region held before the first write; zeroes when absent. */
  readonly before?: ReadDisk;
  /** How many lost writes are listed. Default 20; all are counted. */
  readonly list?: number;
  /** Bytes read at once. Default 4 MiB. */
  readonly pieceSize?: number;
}

const SECTOR = 512;

/** What the record says of each block: the last acknowledged write, and the later ones that may have landed. */
interface Expectation {
  /** By block index: sequence of the last acknowledged write, 0 for none. */
  readonly last: Float64Array;
  /** By block index: writes that were begun and not acknowledged. */
  readonly maybe: ReadonlyMap<number, readonly number[]>;
}

function expectationOf(record: WriteRecord): Expectation {
  const last = new Float64Array(record.region.length / record.blockSize);
  for (let n = 1; n <= record.acknowledged; n += 1) last[blockIndex(record, n)] = n;
  const maybe = new Map<number, number[]>();
  for (let n = record.acknowledged + 1; n <= record.begun; n += 1) {
    const index = blockIndex(record, n);
    const list = maybe.get(index);
    if (list) list.push(n);
    else maybe.set(index, [n]);
  }
  return { last, maybe };
}

/** Whether the block is what write `n`, which must be one of data, put there. */
function holdsData(record: WriteRecord, block: Buffer, n: number): boolean {
  const header = readWriteHeader(block);
  return header?.sequence === n && block.equals(writeContents(record, n));
}

/** What a reader may find in a block, and what it may not. */
class BlockRule {
  readonly #record: WriteRecord;
  readonly #index: number;
  readonly #offset: number;
  readonly #last: number;
  readonly #maybe: readonly number[];
  readonly #before: Buffer;

  constructor(record: WriteRecord, index: number, last: number, maybe: readonly number[], before: Buffer) {
    this.#record = record;
    this.#index = index;
    this.#offset = record.region.offset + index * record.blockSize;
    this.#last = last;
    this.#maybe = maybe;
    this.#before = before;
  }

  /** Undefined when the block is right. */
  judge(block: Buffer): LostWrite | undefined {
    const kinds = this.#maybe.map((n) => writeKind(this.#record, n));
    const kind = this.#last === 0 ? undefined : writeKind(this.#record, this.#last);
    if (kind === 'data' && holdsData(this.#record, block, this.#last)) return undefined;
    if (kind === 'zero' && isZero(block)) return undefined;
    if (kind === undefined && block.equals(this.#before)) return undefined;
    const discarded = kind === 'discard' || kinds.includes('discard');
    if (discarded && this.#isOldOrZero(block)) return undefined;
    if (this.#maybe.length > 0 && this.#isMixture(block, kind, discarded)) return undefined;
    return {
      offset: this.#offset,
      sequence: this.#last,
      kind: kind ?? 'never written',
      found: this.#describe(block),
    };
  }

  /** After a discard: zeroes, or anything that this block held before, but nothing that belongs elsewhere. */
  #isOldOrZero(block: Buffer): boolean {
    if (isZero(block) || block.equals(this.#before)) return true;
    const sequence = readWriteHeader(block)?.sequence ?? 0;
    return this.#wasWrittenHere(sequence) && holdsData(this.#record, block, sequence);
  }

  #wasWrittenHere(n: number): boolean {
    const { begun } = this.#record;
    if (!(n >= 1 && n <= begun) || blockIndex(this.#record, n) !== this.#index) return false;
    return writeKind(this.#record, n) === 'data';
  }

  /** A write that was cut off may have landed in part: each sector is then of one of the contents that are allowed. */
  #isMixture(block: Buffer, kind: WriteKind | undefined, discarded: boolean): boolean {
    const writes = discarded ? this.#writtenHere() : [...this.#maybe, ...(kind === undefined ? [] : [this.#last])];
    const allowed = writes.map((n) => this.#contents(n));
    if (kind === undefined || discarded) allowed.push(this.#before);
    for (let at = 0; at < block.length; at += SECTOR) {
      const sector = block.subarray(at, at + SECTOR);
      if (!allowed.some((contents) => sector.equals(contents.subarray(at, at + SECTOR)))) return false;
    }
    return true;
  }

  #writtenHere(): number[] {
    const found: number[] = [];
    for (let n = 1; n <= this.#record.begun; n += 1) if (blockIndex(this.#record, n) === this.#index) found.push(n);
    return found;
  }

  #contents(n: number): Buffer {
    if (writeKind(this.#record, n) === 'data') return writeContents(this.#record, n);
    return Buffer.alloc(this.#record.blockSize);
  }

  #describe(block: Buffer): string {
    if (isZero(block)) return 'zeroes';
    if (block.equals(this.#before)) return 'what was there before the first write';
    const header = readWriteHeader(block);
    if (!header) return `unknown bytes, ${block.toString('hex', 0, 16)}…`;
    if (header.seed !== this.#record.seed) return `write ${header.sequence} of another writer, seed ${header.seed}`;
    if (header.offset !== this.#offset) return `write ${header.sequence}, which belongs to offset ${header.offset}`;
    if (!this.#wasWrittenHere(header.sequence) || !holdsData(this.#record, block, header.sequence)) {
      return `a damaged write ${header.sequence}`;
    }
    return `the older write ${header.sequence}`;
  }
}

function isZero(block: Buffer): boolean {
  return block[0] === 0 && block.subarray(1).equals(block.subarray(0, -1));
}

async function zeroes(_offset: number, length: number): Promise<Buffer> {
  return await Promise.resolve(Buffer.alloc(length));
}

/**
 * Asks of a disk which acknowledged writes of a record it lacks, and which blocks of the region hold something else
 * although nothing acknowledged went there (a neighbour that a copy zeroed). The record must be of the only writer to
 * its region.
 *
 * A block must hold its last acknowledged write. A write that was begun after it and not acknowledged may be there, whole
 * or in part (by sectors of 512 bytes). After a discard the block may hold zeroes or anything that was in this block.
 *
 * Memory: 8 bytes for each block of the region and a few pieces.
 */
export async function checkWrites(
  record: WriteRecord,
  readDisk: ReadDisk,
  options: CheckOptions = {},
): Promise<WriteCheck> {
  const { blockSize, region } = record;
  if (blockSize < WRITE_HEADER_SIZE || region.offset % blockSize !== 0 || region.length % blockSize !== 0) {
    throw new RangeError(`blocks of ${blockSize} do not fit the region at ${region.offset}, ${region.length} long`);
  }
  const { last, maybe } = expectationOf(record);
  const readBefore = options.before ?? zeroes;
  const list = options.list ?? 20;
  const step = Math.max(blockSize, Math.floor((options.pieceSize ?? 2 ** 22) / blockSize) * blockSize);
  const lost: LostWrite[] = [];
  let writtenBlocks = 0;
  let lostCount = 0;
  let damagedCount = 0;
  const readPiece = (at: number): Promise<[Buffer, Buffer]> => {
    const length = Math.min(step, region.length - at);
    return Promise.all([readDisk(region.offset + at, length), readBefore(region.offset + at, length)]);
  };
  for (let at = 0; at < region.length; at += step) {
    const [piece, before] = await readPiece(at);
    for (let inPiece = 0; inPiece < piece.length; inPiece += blockSize) {
      const index = (at + inPiece) / blockSize;
      const sequence = last[index] as number;
      if (sequence > 0) writtenBlocks += 1;
      const old = before.subarray(inPiece, inPiece + blockSize);
      const wrong = new BlockRule(record, index, sequence, maybe.get(index) ?? [], old).judge(
        piece.subarray(inPiece, inPiece + blockSize),
      );
      if (!wrong) continue;
      if (sequence > 0) lostCount += 1;
      else damagedCount += 1;
      if (lost.length < list) lost.push(wrong);
    }
  }
  return {
    disk: record.disk,
    acknowledged: record.acknowledged,
    writtenBlocks,
    untouchedBlocks: last.length - writtenBlocks,
    lostCount,
    damagedCount,
    lost,
  };
}
