import * as fc from 'fast-check';
import { expect, test } from 'vitest';
import { parseOptionList } from './option-list.ts';

function parse(text: string, firstKey?: string): Record<string, string> {
  return Object.fromEntries(parseOptionList(text, firstKey));
}

test('keys, values, lone words and the first key', () => {
  expect(parse('socket,id=m,path=/a b/c=d,server,nowait', 'backend')).toEqual({
    backend: 'socket',
    id: 'm',
    path: '/a b/c=d',
    server: 'on',
    wait: 'off',
  });
  expect(parse('a=1,a=2')).toEqual({ a: '2' });
  expect(parse('')).toEqual({});
});

test('doubled commas are commas of the value', () => {
  expect(parse('guest=a,,b,debug-threads=on', 'guest')).toEqual({ guest: 'a,b', 'debug-threads': 'on' });
  expect(parse('x=a,,,y=b')).toEqual({ x: 'a,', y: 'b' });
  expect(parse('x=,,,,,y=b')).toEqual({ x: ',,', y: 'b' });
});

test('any value comes back when its commas are doubled', () => {
  const key = fc.stringMatching(/^[a-z][a-z0-9-]{0,8}$/);
  fc.assert(
    fc.property(fc.dictionary(key, fc.string({ unit: 'grapheme' })), (options) => {
      const text = Object.entries(options).map(([name, value]) => `${name}=${value.replaceAll(',', ',,')}`);
      expect(parse(text.join(','))).toEqual({ ...options });
    }),
  );
});
