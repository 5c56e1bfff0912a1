import fc from 'fast-check';
import { expect, test } from 'vitest';
import { RateMeter } from './rate-meter.ts';

test('tells bytes per second when there is enough to tell from', () => {
  const meter = new RateMeter();
  expect(meter.sample(0, 0)).toBeUndefined();
  expect(meter.sample(100, 100)).toBeUndefined();
  expect(meter.sample(1000, 1000)).toBe(1000);
});

test('forgets what was before its window', () => {
  const meter = new RateMeter(1000);
  for (let at = 0; at <= 5000; at += 500) meter.sample(at, at * 10);
  for (let at = 5500; at <= 7000; at += 500) meter.sample(at, 50_000);
  expect(meter.sample(7500, 50_000)).toBe(0);
});

test('begins anew when what it measures does', () => {
  const meter = new RateMeter();
  meter.sample(0, 0);
  meter.sample(1000, 1_000_000);
  expect(meter.sample(2000, 10)).toBeUndefined();
  expect(meter.sample(3000, 1010)).toBe(1000);
});

test('a steady rate is told exactly, however it is sampled', () => {
  const steps = fc.array(fc.integer({ min: 1, max: 3000 }), { minLength: 1, maxLength: 50 });
  fc.assert(
    fc.property(steps, fc.integer({ min: 0, max: 1e9 }), (pauses, perMs) => {
      const meter = new RateMeter();
      let at = 0;
      meter.sample(at, 0);
      for (const pause of pauses) {
        at += pause;
        const rate = meter.sample(at, at * perMs);
        if (rate !== undefined) expect(rate).toBeCloseTo(perMs * 1000, -3);
      }
    }),
  );
});
