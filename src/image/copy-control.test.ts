import { expect, test } from 'vitest';
import { CopyControl } from './copy-control.ts';

test('shares one speed evenly, and tells of every change', () => {
  const control = new CopyControl({ speed: 100 });
  const told: string[] = [];
  const first = control.join(() => told.push('first'));
  expect(first.limits).toEqual({ bytesPerSecond: 100, paused: false });
  const second = control.join(() => told.push('second'));
  expect(told).toEqual(['first']);
  expect([first.limits.bytesPerSecond, second.limits.bytesPerSecond]).toEqual([50, 50]);
  control.setSpeed(1);
  // No share is 0, which would be no limit.
  expect(first.limits.bytesPerSecond).toBe(1);
  control.pause();
  expect([control.paused, second.limits.paused]).toEqual([true, true]);
  control.resume();
  control.setSpeed(0);
  expect(second.limits).toEqual({ bytesPerSecond: 0, paused: false });
  control.setSpeed(30);
  told.length = 0;
  second[Symbol.dispose]();
  second[Symbol.dispose]();
  expect(told).toEqual(['first']);
  expect(first.limits.bytesPerSecond).toBe(30);
});

test.each([-1, Number.NaN, Number.POSITIVE_INFINITY])('refuses a speed of %d', (speed) => {
  expect(() => new CopyControl().setSpeed(speed)).toThrow(RangeError);
});
