import fc from 'fast-check';
import { expect, test } from 'vitest';
import { touchedPieces } from './data-extents.ts';

test('every piece that an extent touches comes once, in order', () => {
  const extent = fc.tuple(fc.nat(200), fc.nat(60)).map(([start, length]) => [start, start + length] as const);
  fc.assert(
    fc.property(fc.array(extent), fc.integer({ min: 1, max: 20 }), (extents, size) => {
      const expected = Array.from({ length: 300 }, (_, piece) => piece).filter((piece) =>
        extents.some(([start, end]) => start < end && start < (piece + 1) * size && end > piece * size),
      );
      const nonEmpty = extents.filter(([start, end]) => start < end);
      expect([...touchedPieces(nonEmpty, size)]).toEqual(expected);
    }),
  );
});
