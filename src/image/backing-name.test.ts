import { normalize } from 'node:path';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { isProtocolName, relativeBackingName, resolveBackingName } from './backing-name.ts';

/** Names of files as people and tools make them: anything but a slash and a NUL. */
const name = fc
  .oneof(
    fc.string({ unit: 'grapheme', minLength: 1, maxLength: 12 }),
    fc.constantFrom('-x', 'a:b', 'json:{}', 'nbd://x', ' ', "'", ',', '=', '%41', '...', 'größe', ':', '\n'),
  )
  .map((text) => text.replaceAll(/[/\0]/g, '_'))
  .filter((text) => text !== '.' && text !== '..');
const path = fc.array(name, { minLength: 1, maxLength: 5 }).map((names) => `/${names.join('/')}`);

describe('backing names', () => {
  test('what relativeBackingName makes leads back to the file, and never to a protocol', () => {
    fc.assert(
      fc.property(path, path, (from, to) => {
        // An image is no folder that the other lies in.
        fc.pre(!from.startsWith(`${to}/`));
        const stored = relativeBackingName(from, to);
        expect(isProtocolName(stored)).toBe(false);
        expect(stored.startsWith('/')).toBe(false);
        expect(normalize(resolveBackingName(from, stored))).toBe(normalize(to));
      }),
    );
  });

  test('a name in the same folder stays the name', () => {
    expect(relativeBackingName('/a/top', '/a/base.qcow2')).toBe('base.qcow2');
    expect(relativeBackingName('/a/top', '/a/b:c')).toBe('./b:c');
    expect(relativeBackingName('/a/top', '/b/c:d/e')).toBe('../b/c:d/e');
    expect(relativeBackingName('/top', '/-x')).toBe('-x');
  });

  test('absolute names and protocols are not joined', () => {
    expect(resolveBackingName('/a/top', '/b')).toBe('/b');
    expect(resolveBackingName('/a/top', 'nbd:x')).toBe('nbd:x');
    expect(resolveBackingName('/a/top', './x:y')).toBe('/a/x:y');
    expect(resolveBackingName('/top', 'x')).toBe('/x');
    // Not shortened: /a/link may be a symbolic link.
    expect(resolveBackingName('/a/top', 'link/../b')).toBe('/a/link/../b');
  });

  test.each([
    ['json:{"driver":"file"}', true],
    ['nbd:host:1', true],
    [':', true],
    ['a:b/c', true],
    ['a/b:c', false],
    ['./a:b', false],
    ['/a:b', false],
    ['plain', false],
    ['', false],
  ])('isProtocolName(%j) is %s', (text, expected) => expect(isProtocolName(text)).toBe(expected));
});
