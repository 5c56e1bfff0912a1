import { Buffer } from 'node:buffer';
import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { MessageSplitter } from './message-splitter.ts';
import { GREETING, HMP_BANNER, PRETTY_GREETING, statusReturn } from './testing/recorded-bytes.ts';

function split(chunks: readonly (string | Buffer)[], limit = 1e6): string[] {
  const splitter = new MessageSplitter(limit);
  return chunks.flatMap((chunk) => [...splitter.push(Buffer.from(chunk as string))]);
}

describe('messages of a byte stream', () => {
  test('joined in one chunk', () => {
    expect(split([GREETING + statusReturn('1')])).toEqual([GREETING.trim(), statusReturn('1').trim()]);
  });

  test('cut anywhere, also inside a character', () => {
    const bytes = Buffer.from('{"a": "é\u{1F600}"}');
    expect(split([...bytes].map((byte) => Buffer.from([byte])))).toEqual(['{"a": "é\u{1F600}"}']);
  });

  test('spread over lines by a pretty monitor', () => {
    expect(split([PRETTY_GREETING + PRETTY_GREETING])).toEqual([PRETTY_GREETING.trim(), PRETTY_GREETING.trim()]);
  });

  test('braces, brackets and escaped quotes in strings are text', () => {
    const texts = [String.raw`{"}": "\"{[\\"}`, String.raw`{"a": ["\\", "]"]}`];
    expect(split([texts.join('')])).toEqual(texts);
  });

  test('is complete with its last brace; no line end is waited for', () => {
    const splitter = new MessageSplitter(100);
    expect([...splitter.push(Buffer.from('{"a": 1'))]).toEqual([]);
    expect(splitter.inMessage).toBe(true);
    expect([...splitter.push(Buffer.from('}'))]).toEqual(['{"a": 1}']);
    expect(splitter.inMessage).toBe(false);
  });
});

describe('what is refused', () => {
  test('a message that is longer than the limit, before it is complete', () => {
    expect(split(['{"a": 1234}'], 11)).toHaveLength(1);
    expect(() => split(['{"a": 12345}'], 11)).toThrow(/more than 11 bytes/);
    expect(() => split(['{"a": "aaaa', 'aaaa'], 11)).toThrow(/more than 11 bytes/);
  });

  test('bytes between messages', () => {
    expect(() => split([`${GREETING}x{}`])).toThrow(/not QMP: 'x\{\}'/);
  });

  test('the human monitor, by its name', () => {
    expect(() => split([HMP_BANNER])).toThrow(/HMP/);
  });

  test('bytes that are not UTF-8', () => {
    expect(() => split([Buffer.from([0x7b, 0x22, 0xff, 0x22, 0x7d])])).toThrow(/not UTF-8/);
  });
});

test('any chunking of a stream gives the same messages', () => {
  const object = fc.dictionary(fc.string({ unit: 'binary' }), fc.jsonValue());
  const blank = fc.constantFrom('', '\r\n', '\n', ' \t\n');
  const message = fc.tuple(object, fc.boolean(), blank);
  fc.assert(
    fc.property(fc.array(message), fc.array(fc.nat({ max: 400 })), (messages, cuts) => {
      const texts = messages.map(([value, pretty]) => JSON.stringify(value, undefined, pretty ? 4 : 0));
      const stream = Buffer.from(messages.map(([, , end], at) => texts[at] + end).join(''));
      const edges = [0, ...cuts.map((cut) => cut % (stream.length + 1)).toSorted((a, b) => a - b), stream.length];
      const chunks = edges.slice(1).map((edge, at) => stream.subarray(edges[at], edge));
      expect(split(chunks)).toEqual(texts);
    }),
  );
});
