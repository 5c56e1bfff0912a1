import * as fc from 'fast-check';
import { expect, test } from 'vitest';
import { formatExactJson, parseExactJson } from './exact-json.ts';

test('integers beyond 2^53 are bigints, all others numbers', () => {
  expect(parseExactJson('{"a": 9007199254740993, "b": [18446744073709551615, -9223372036854775808]}')).toEqual({
    a: 9007199254740993n,
    b: [18446744073709551615n, -9223372036854775808n],
  });
  expect(parseExactJson('[9007199254740991, 1e300, 0.5, 12345678901234567e-1, -0]')).toEqual([
    9007199254740991,
    1e300,
    0.5,
    Number('12345678901234567e-1'),
    -0,
  ]);
});

test('digits in strings stay strings', () => {
  expect(parseExactJson('{"a": "90071992547409931234"}')).toEqual({ a: '90071992547409931234' });
});

test('every 64-bit integer survives the way there and back', () => {
  fc.assert(
    fc.property(fc.array(fc.bigInt({ min: -(2n ** 63n), max: 2n ** 64n - 1n })), (integers) => {
      const back = parseExactJson(formatExactJson({ integers })) as { integers: (number | bigint)[] };
      expect(back.integers.map(BigInt)).toEqual(integers);
      for (const value of back.integers) expect(typeof value === 'bigint').toBe(!Number.isSafeInteger(Number(value)));
    }),
  );
});

test('what undefined members stand for is left out', () => {
  expect(formatExactJson({ a: undefined, b: null })).toBe('{"b":null}');
});

test.each([
  ['NaN', Number.NaN],
  ['an infinity', Number.NEGATIVE_INFINITY],
  ['a NUL', 'a\0b'],
  ['a lone surrogate', '\ud800'],
])('%s cannot be sent', (_, value) => {
  expect(() => formatExactJson({ arguments: { filename: value } })).toThrow(/'filename' cannot be sent/);
});

test('other text can be sent', () => {
  fc.assert(
    fc.property(fc.string({ unit: 'grapheme' }), (text) => {
      fc.pre(!text.includes('\0'));
      expect(parseExactJson(formatExactJson({ text }))).toEqual({ text });
    }),
  );
});
