import { expect, test } from 'vitest';
import { StallWatch } from './stall-watch.ts';

/** When it says that nothing comes nearer to its end, of one sample a second. */
function stallsAt(left: readonly number[]): number[] {
  const watch = new StallWatch(3, 0);
  return left.flatMap((each, second) => (watch.stalled(second, each) ? [second] : []));
}

test('slow progress is progress, however long it takes', () => {
  expect(stallsAt([100, 100, 99, 99, 98, 98, 97, 99, 96])).toEqual([]);
});

test('a whole window without anything less than before is a stall, and so is the next', () => {
  expect(stallsAt([10, 12, 10, 11, 15, 10, 10, 9, 9])).toEqual([3, 6]);
});
