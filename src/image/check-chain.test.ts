import { describe, expect, test } from 'vitest';
import { checkChain, chainRefusals, MAX_CHAIN_DEPTH } from './check-chain.ts';
import type { ImageInfo } from './image-info.ts';

function image(name: string, more: Partial<ImageInfo> = {}): ImageInfo {
  return {
    path: `/s/${name}`,
    realPath: `/s/${name}`,
    format: 'qcow2',
    formatStated: true,
    blockDevice: false,
    virtualSize: 1024,
    fileSize: 1024,
    allocated: 1024,
    encrypted: false,
    bitmaps: [],
    snapshotCount: 0,
    corrupt: false,
    dirty: false,
    owner: { uid: 0, gid: 0, mode: 0o600 },
    dev: '1',
    ino: name,
    nlink: 1,
    ...more,
  };
}

function over(name: string, base: string): ImageInfo {
  return image(name, { backing: { written: base, path: `/s/${base}`, format: 'qcow2' } });
}

const codes = (...chain: ImageInfo[]): string[] => chainRefusals(chain).map(({ code }) => code);

describe('chainRefusals', () => {
  test('lets a sound chain pass', () => {
    expect(codes(over('top', 'base'), image('base', { format: 'raw' }))).toEqual([]);
    checkChain([image('alone', { dirty: true })]);
  });

  test.each([
    ['IMAGE_FORMAT_UNSUPPORTED', { format: 'vmdk' }],
    ['IMAGE_FORMAT_UNSTATED', { format: 'raw', formatStated: false }],
    ['IMAGE_FORMAT_UNSTATED', { formatStated: false }],
    ['IMAGE_DATA_FILE', { dataFile: '' }],
    ['IMAGE_ENCRYPTED', { encrypted: true }],
    ['IMAGE_CORRUPT', { corrupt: true }],
    ['BACKING_PROTOCOL', { backing: { written: 'nbd://x', path: 'nbd://x' } }],
    ['IMAGE_MISSING', { backing: { written: 'x', path: '/s/x' } }],
  ] as const)('refuses with %s', (code, more) => {
    const chain = [over('top', 'base'), image('base', more)];
    expect(codes(...chain)).toEqual([code]);
    expect(() => checkChain(chain)).toThrow('/s/');
  });

  test('tells every reason', () => {
    expect(codes(over('top', 'base'), image('base', { encrypted: true, corrupt: true, dataFile: 'x' }))).toEqual([
      'IMAGE_DATA_FILE',
      'IMAGE_ENCRYPTED',
      'IMAGE_CORRUPT',
    ]);
  });

  test('a file that comes twice, by whatever name, is a loop', () => {
    expect(codes(over('a', 'b'), over('b', 'c'), { ...over('c', 'b'), ino: 'a' })).toEqual(['BACKING_LOOP']);
  });

  test('a chain may be 200 images deep', () => {
    const chain = Array.from({ length: MAX_CHAIN_DEPTH + 1 }, (_, n) => over(String(n), String(n + 1)));
    expect(codes(...chain)).toEqual(['BACKING_TOO_DEEP']);
    expect(codes(...chain.slice(0, MAX_CHAIN_DEPTH - 1), image('last'))).toEqual([]);
  });
});
