import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { checkWrites, type ReadDisk, type WriteCheck } from './acknowledged-writes.ts';
import { blockIndex, type WriteRecord, writeContents, writeKind, writeOffset } from './write-pattern.ts';

/** A record of a small disk, in which blocks are overwritten, zeroed and discarded. */
const records = fc
  .record({
    seed: fc.nat(2 ** 32 - 1),
    blockSize: fc.constantFrom(512, 4096),
    blocks: fc.integer({ min: 2, max: 24 }),
    offsetBlocks: fc.integer({ min: 0, max: 3 }),
    zeroEvery: fc.constantFrom(0, 3, 5),
    discardEvery: fc.constantFrom(0, 4),
    acknowledged: fc.integer({ min: 1, max: 40 }),
    unacknowledged: fc.integer({ min: 0, max: 4 }),
  })
  .map(
    ({
      seed,
      blockSize,
      blocks,
      offsetBlocks,
      zeroEvery,
      discardEvery,
      acknowledged,
      unacknowledged,
    }): WriteRecord => ({
      disk: 'a',
      seed,
      blockSize,
      region: { offset: offsetBlocks * blockSize, length: blocks * blockSize },
      zeroEvery,
      discardEvery,
      acknowledged,
      begun: acknowledged + unacknowledged,
    }),
  );

const sizeOf = (record: WriteRecord): number => record.region.offset + record.region.length;
const reader =
  (disk: Buffer): ReadDisk =>
  (offset, length) =>
    Promise.resolve(Buffer.from(disk.subarray(offset, offset + length)));

/** What the disk held before: no zeroes anywhere, and different in every sector. */
function before(record: WriteRecord): Buffer {
  const disk = Buffer.alloc(sizeOf(record));
  for (let at = 0; at < disk.length; at += 8) disk.writeUInt32LE(0xb0000000 + at, at);
  return disk;
}

function apply(disk: Buffer, record: WriteRecord, n: number): void {
  const at = writeOffset(record, n);
  if (writeKind(record, n) === 'data') writeContents(record, n).copy(disk, at);
  else disk.fill(0, at, at + record.blockSize);
}

/** The disk after the first `count` writes. */
function diskAfter(record: WriteRecord, count: number): Buffer {
  const disk = before(record);
  for (let n = 1; n <= count; n += 1) apply(disk, record, n);
  return disk;
}

function check(record: WriteRecord, disk: Buffer, pieceSize?: number): Promise<WriteCheck> {
  const options = { before: reader(before(record)), list: 1000, ...(pieceSize === undefined ? {} : { pieceSize }) };
  return checkWrites(record, reader(disk), options);
}

/** The last write to each block that had any, by block. */
function lastWrites(record: WriteRecord): Map<number, number> {
  const last = new Map<number, number>();
  for (let n = 1; n <= record.acknowledged; n += 1) last.set(blockIndex(record, n), n);
  return last;
}

describe('a disk that lost nothing', () => {
  test('is found to lack nothing, however many unacknowledged writes landed', async () => {
    await fc.assert(
      fc.asyncProperty(records, fc.nat(4), fc.constantFrom(512, 8192, 2 ** 22), async (record, landed, pieceSize) => {
        const disk = diskAfter(record, Math.min(record.acknowledged + landed, record.begun));
        const result = await check(record, disk, pieceSize);
        expect(result).toMatchObject({ lostCount: 0, damagedCount: 0, lost: [], acknowledged: record.acknowledged });
        expect(result.writtenBlocks).toBe(lastWrites(record).size);
        expect(result.writtenBlocks + result.untouchedBlocks).toBe(record.region.length / record.blockSize);
      }),
    );
  });

  test('may hold an unacknowledged write in part, by sectors', async () => {
    await fc.assert(
      fc.asyncProperty(
        records.filter((record) => record.begun > record.acknowledged),
        fc.nat(8),
        async (record, sectors) => {
          const disk = diskAfter(record, record.acknowledged);
          const whole = diskAfter(record, record.acknowledged + 1);
          const at = writeOffset(record, record.acknowledged + 1);
          whole.copy(disk, at, at, at + Math.min(sectors * 512, record.blockSize));
          expect(await check(record, disk)).toMatchObject({ lostCount: 0, damagedCount: 0 });
        },
      ),
    );
  });

  test('may hold old data where it was discarded', async () => {
    const record = { ...example(), discardEvery: 4, zeroEvery: 0 };
    const disk = before(record);
    for (let n = 1; n <= record.acknowledged; n += 1) if (writeKind(record, n) === 'data') apply(disk, record, n);
    expect(await check(record, disk)).toMatchObject({ lostCount: 0, damagedCount: 0 });
  });
});

/** A record without unacknowledged writes and discards, where each loss shows. */
function example(): WriteRecord {
  const region = { offset: 4096, length: 64 * 4096 };
  return { disk: 'a', seed: 7, blockSize: 4096, region, zeroEvery: 5, discardEvery: 0, acknowledged: 60, begun: 60 };
}

/** A write of data that goes to another block than the one at this offset. */
function elsewhere(record: WriteRecord, at: number): number {
  let n = 1;
  while (writeOffset(record, n) === at || writeKind(record, n) !== 'data') n += 1;
  return n;
}

describe('a planted loss is found', () => {
  const exact = records.map((record) => ({ ...record, begun: record.acknowledged, discardEvery: 0 }));

  test('when the last write to any one block is missing', async () => {
    await fc.assert(
      fc.asyncProperty(exact, fc.nat(), async (record, choice) => {
        const writes = [...lastWrites(record)];
        const [index, sequence] = writes[choice % writes.length] as [number, number];
        const disk = before(record);
        for (let n = 1; n <= record.acknowledged; n += 1) if (n !== sequence) apply(disk, record, n);
        const at = record.region.offset + index * record.blockSize;
        const healthy = diskAfter(record, record.acknowledged);
        // Two writes of zeroes to one block differ in nothing that a reader could see.
        fc.pre(!disk.subarray(at, at + record.blockSize).equals(healthy.subarray(at, at + record.blockSize)));
        const result = await check(record, disk);
        expect(result).toMatchObject({ lostCount: 1, damagedCount: 0 });
        expect(result.lost[0]).toMatchObject({ offset: at, sequence, kind: writeKind(record, sequence) });
      }),
    );
  });

  test('when any byte of the region is flipped, in a written block or in a neighbour', async () => {
    await fc.assert(
      fc.asyncProperty(exact, fc.nat(), fc.integer({ min: 1, max: 255 }), async (record, where, bits) => {
        const disk = diskAfter(record, record.acknowledged);
        const at = record.region.offset + (where % record.region.length);
        disk[at] = (disk[at] as number) ^ bits;
        const result = await check(record, disk);
        expect(result.lostCount + result.damagedCount).toBe(1);
        expect(result.lost[0]?.offset).toBe(at - (at % record.blockSize));
        const written = lastWrites(record).has(Math.floor((at - record.region.offset) / record.blockSize));
        expect(result.lostCount).toBe(written ? 1 : 0);
      }),
    );
  });

  test('when neighbours of a write were zeroed', async () => {
    const record = example();
    const disk = diskAfter(record, record.acknowledged);
    const untouched = Array.from({ length: 64 }, (_, index) => index).filter((index) => !lastWrites(record).has(index));
    for (const index of untouched) disk.fill(0, 4096 * (1 + index), 4096 * (2 + index));
    const result = await check(record, disk);
    expect(result).toMatchObject({ lostCount: 0, damagedCount: untouched.length });
    expect(result.lost.map(({ kind, found }) => `${kind}: ${found}`)).toEqual(
      untouched.map(() => 'never written: zeroes'),
    );
  });

  test.each<[string, (disk: Buffer, record: WriteRecord, at: number, sequence: number) => void, string]>([
    ['zeroed', (disk, record, at) => disk.fill(0, at, at + record.blockSize), 'zeroes'],
    [
      'as it was before',
      (disk, record, at) => void before(record).copy(disk, at, at, at + record.blockSize),
      'what was there before the first write',
    ],
    [
      'a write that belongs elsewhere',
      (disk, record, at) => void writeContents(record, elsewhere(record, at)).copy(disk, at),
      'which belongs to offset',
    ],
    [
      'of another writer',
      (disk, record, at, sequence) => void writeContents({ ...record, seed: 8 }, sequence).copy(disk, at),
      'of another writer, seed 8',
    ],
    ['torn', (disk, record, at) => disk.fill(0, at + 512, at + record.blockSize), 'a damaged write'],
    ['foreign', (disk, record, at) => disk.fill(0x55, at, at + record.blockSize), 'unknown bytes, 5555'],
  ])('a block is %s', async (_, plant, found) => {
    const record = example();
    for (const [index, sequence] of lastWrites(record)) {
      if (writeKind(record, sequence) !== 'data') continue;
      const disk = diskAfter(record, record.acknowledged);
      plant(disk, record, record.region.offset + index * record.blockSize, sequence);
      const result = await check(record, disk);
      expect(result.lostCount).toBe(1);
      expect(result.lost[0]?.found).toContain(found);
    }
  });

  test('when the older write is back', async () => {
    const record = { ...example(), region: { offset: 0, length: 4 * 4096 }, zeroEvery: 0 };
    const disk = diskAfter(record, record.acknowledged);
    const [index, sequence] = [...lastWrites(record)][0] as [number, number];
    let older = sequence - 1;
    while (blockIndex(record, older) !== index) older -= 1;
    writeContents(record, older).copy(disk, index * 4096);
    const result = await check(record, disk);
    expect(result.lost).toMatchObject([{ sequence, found: `the older write ${older}` }]);
  });

  test('when a discarded block holds what was never in it', async () => {
    const record = { ...example(), discardEvery: 1 };
    const disk = diskAfter(record, record.acknowledged);
    const at = writeOffset(record, 1);
    disk.fill(0x55, at, at + 4096);
    expect(await check(record, disk)).toMatchObject({ lostCount: 1, damagedCount: 0 });
  });

  test('and every one is counted, though few are listed', async () => {
    const record = example();
    const result = await checkWrites(record, reader(Buffer.alloc(sizeOf(record), 0x55)), { list: 3 });
    expect(result.lostCount).toBe(lastWrites(record).size);
    expect(result.damagedCount).toBe(64 - lastWrites(record).size);
    expect(result.lost).toHaveLength(3);
  });
});
