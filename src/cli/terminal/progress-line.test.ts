import { describe, expect, test } from 'vitest';
import type { DiskRow } from './disk-progress.ts';
import { percent, progressLines } from './progress-line.ts';
import { textWidth } from '../../base/text-width.ts';
import { paint } from './text.ts';

const MiB = 2 ** 20;
const rows: DiskRow[] = [
  { disk: 'vda', phase: 'copying', done: 50 * MiB, total: 200 * MiB, rate: 10 * MiB },
  { disk: '磁盘-one', phase: 'copying', done: 200 * MiB, total: 200 * MiB },
  { disk: 'c', phase: 'copying', done: 0, total: 0 },
];

describe('one line per disk', () => {
  test('with a bar where there is room', () => {
    expect(progressLines(rows, 100, paint(false))).toMatchInlineSnapshot(`
      [
        "vda       copying  [#######----------------------]  50.0 MiB of 200 MiB, 25 %, 10.0 MiB/s, 15 s left",
        "磁盘-one  copying  [#############################]  200 MiB of 200 MiB, 100 %",
        "c         copying",
      ]
    `);
  });

  test('without one in a narrow terminal, and never wider than it', () => {
    expect(progressLines(rows, 60, paint(false))).toMatchInlineSnapshot(`
      [
        "vda       copying  50.0 MiB of 200 MiB, 25 %, 10.0 MiB/s, 1…",
        "磁盘-one  copying  200 MiB of 200 MiB, 100 %",
        "c         copying",
      ]
    `);
    for (let width = 1; width < 130; width += 1) {
      for (const line of progressLines(rows, width, paint(false))) expect(textWidth(line)).toBeLessThanOrEqual(width);
    }
  });
});

test('100 % only when it is all there', () => {
  expect(percent({ done: 999_999, total: 1_000_000 })).toBe(99);
  expect(percent({ done: 5, total: 5 })).toBe(100);
  expect(percent({ done: 0, total: 0 })).toBe(0);
});
