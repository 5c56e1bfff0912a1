import * as fc from 'fast-check';
import { expect, test } from 'vitest';
import {
  blockIndex,
  readWriteHeader,
  writeContents,
  writeKind,
  writeOffset,
  type WritePattern,
} from './write-pattern.ts';

const pattern: WritePattern = {
  seed: 0xdeadbeef,
  blockSize: 512,
  region: { offset: 4096, length: 2 ** 20 },
  zeroEvery: 10,
  discardEvery: 4,
};

test('zeros go before discards, and both before data', () => {
  expect([1, 4, 10, 20].map((n) => writeKind(pattern, n))).toEqual(['data', 'discard', 'zero', 'zero']);
  expect(writeKind({ ...pattern, zeroEvery: 0, discardEvery: 0 }, 20)).toBe('data');
});

/** The definition in the head of write-pattern.ts, in integers that cannot overflow. */
function indexByDefinition(seed: bigint, n: bigint, blocks: bigint): bigint {
  const mask = 0xffffffffn;
  let x = (seed + n * 0x9e3779b9n) & mask;
  x ^= (x << 13n) & mask;
  x ^= x >> 17n;
  x ^= (x << 5n) & mask;
  return x % blocks;
}

test('the index follows its definition for any seed and sequence', () => {
  fc.assert(
    fc.property(fc.nat(0xffffffff), fc.integer({ min: 1, max: 2 ** 40 }), (seed, n) => {
      expect(BigInt(blockIndex({ ...pattern, seed }, n))).toBe(indexByDefinition(BigInt(seed), BigInt(n), 2048n));
    }),
  );
});

test('a block says what it is, and fills itself', () => {
  fc.assert(
    fc.property(fc.nat(0xffffffff), fc.integer({ min: 1, max: 2 ** 40 }), (seed, n) => {
      const block = writeContents({ ...pattern, seed }, n);
      expect(readWriteHeader(block)).toEqual({ seed, sequence: n, offset: writeOffset({ ...pattern, seed }, n) });
      expect(block.readUInt32LE(504)).toBe(seed);
      expect(block.readUInt32LE(508)).toBe(n % 2 ** 32);
    }),
  );
  expect(readWriteHeader(Buffer.alloc(512))).toBeUndefined();
});
