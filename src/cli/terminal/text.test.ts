import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { textWidth } from '../../base/text-width.ts';
import { cutText, padText, paint, printable } from './text.ts';

describe('textWidth', () => {
  test.each([
    ['', 0],
    ['vda', 3],
    ['Große Platte', 12],
    ['e\u0301te\u0301', 3],
    ['磁盘', 4],
    ['ディスク', 8],
    ['한글', 4],
    ['💾', 2],
    ['👨‍👩‍👧', 2],
    ['🇩🇪', 2],
  ])('%s takes %i columns', (text, width) => {
    expect(textWidth(text)).toBe(width);
  });
});

describe('cutText and padText', () => {
  test('cut where a wide character would not fit', () => {
    expect(cutText('磁盘磁盘', 4)).toBe('磁…');
    expect(cutText('磁盘磁盘', 5)).toBe('磁盘…');
    expect(cutText('abc', 3)).toBe('abc');
    expect(cutText('abcd', 3)).toBe('ab…');
    expect(cutText('abcd', 0)).toBe('');
  });

  test('never exceed, and fill up exactly', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'grapheme' }).map(printable), fc.integer({ min: 0, max: 40 }), (text, width) => {
        const cut = cutText(text, width);
        expect(textWidth(cut)).toBeLessThanOrEqual(width);
        expect(textWidth(padText(cut, width))).toBe(width);
      }),
    );
  });
});

describe('printable', () => {
  test('no name can forge a line or command the terminal', () => {
    expect(printable('a\nb\u001b[2Jc\u009b1md')).toBe(String.raw`a\x0ab\x1b[2Jc\x9b1md`);
    expect(printable('a\u202eb\u2028c')).toBe(String.raw`a\u202eb\u2028c`);
    expect(printable('Grüße, 磁盘 \'"=%')).toBe('Grüße, 磁盘 \'"=%');
  });
});

test('colours only where they are wanted', () => {
  expect(paint(false)('red', 'x')).toBe('x');
  expect(paint(true)('red', 'x')).toBe('\u001b[31mx\u001b[39m');
});
