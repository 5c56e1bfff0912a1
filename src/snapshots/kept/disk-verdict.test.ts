import { describe, expect, test } from 'vitest';
import type { DiskSnapshotPlan, PlannedOverlay } from './disk-plan.ts';
import { diskVerdict, type LeftFile, type OverlayState, whyStays } from './disk-verdict.ts';

const MARK = { dev: '1', ino: '2', born: '3' };

function plan(options: { readonly prepared?: boolean; readonly made?: readonly string[] } = {}): DiskSnapshotPlan {
  const { prepared = false, made = ['a', 'b'] } = options;
  const disks = ['a', 'b'].map((disk): PlannedOverlay => {
    return {
      disk,
      node: `bf-x-${disk}`,
      path: `/${disk}.s`,
      base: `n-${disk}`,
      settings: { direct: false, detectZeroes: 'off', discard: 'unmap' },
      size: 1,
      owner: { uid: 0, gid: 0, mode: 0o600 },
      active: `/${disk}`,
      backing: { name: `/${disk}`, format: 'raw' },
      ...(made.includes(disk) && { made: MARK }),
    };
  });
  return { version: 1, xml: '', metadata: true, prepared, disks };
}

function verdict(
  of: DiskSnapshotPlan,
  sameProcess: boolean,
  files: readonly [OverlayState, OverlayState],
  ...inChain: readonly string[]
): string {
  const [a, b] = files;
  return diskVerdict(of, {
    sameProcess,
    inChain: new Set(inChain),
    files: new Map([
      ['a', a],
      ['b', b],
    ]),
  });
}

describe('whether a snapshot was taken', () => {
  test('one disk that has its new file tells for all', () => {
    expect(verdict(plan(), true, ['open', 'empty'], 'a')).toBe('taken');
    expect(verdict(plan(), false, ['empty', 'empty'], 'b')).toBe('taken');
  });

  test('the QEMU that it was begun with knows, whatever the files hold', () => {
    expect(verdict(plan(), true, ['empty', 'empty'])).toBe('not-taken');
    expect(verdict(plan(), true, ['data', 'missing'])).toBe('not-taken');
  });

  test('when that is gone, what the guest has written tells; where it has written nothing, nothing was taken', () => {
    expect(verdict(plan(), false, ['data', 'empty'])).toBe('taken');
    expect(verdict(plan({ prepared: true, made: [] }), false, ['empty', 'data'])).toBe('taken');
    expect(verdict(plan(), false, ['empty', 'empty'])).toBe('not-taken');
  });

  test('a file that cannot be looked at leaves it in doubt', () => {
    expect(verdict(plan(), false, ['open', 'data'])).toBe('doubt');
    expect(verdict(plan(), false, ['empty', 'unreadable'])).toBe('doubt');
    expect(verdict(plan(), false, ['data', 'missing'])).toBe('doubt');
    // Unless they are missing because they were being removed.
    expect(verdict({ ...plan(), notTaken: true }, false, ['missing', 'empty'])).toBe('not-taken');
  });

  test('before the last file was made there was no transaction: data in it is somebody else’s', () => {
    expect(verdict(plan({ made: ['a'] }), false, ['empty', 'data'])).toBe('not-taken');
    expect(verdict(plan({ made: [] }), false, ['unreadable', 'missing'])).toBe('not-taken');
  });
});

describe('a file of a snapshot that was not taken', () => {
  const at = 1_000_000;
  const file = (more: Partial<LeftFile>): LeftFile => {
    return { state: 'empty', isOurs: true, size: 200_000, born: at + 5, ...more };
  };

  test('goes when it is ours and holds nothing', () => {
    expect(whyStays(file({}), at)).toBeUndefined();
    // A file system's clock lags behind; the intent is older all the same.
    expect(whyStays(file({ isOurs: undefined, born: at - 4 }), at)).toBeUndefined();
    // qemu-img was killed.
    expect(whyStays(file({ isOurs: undefined, state: 'unreadable', size: 4096 }), at)).toBeUndefined();
  });

  test.each<[string, Partial<LeftFile>]>([
    ['it holds data', { state: 'data' }],
    ['it holds data', { state: 'data', isOurs: undefined }],
    ['a process has it open', { state: 'open' }],
    ['it cannot be read', { state: 'unreadable' }],
    ['it is not the file that blockferry made', { isOurs: false }],
    ['whether blockferry made it is not recorded', { isOurs: undefined, born: at - 60_000 }],
    ['whether blockferry made it is not recorded', { isOurs: undefined, state: 'unreadable', size: 2 ** 21 }],
  ])('stays where %s', (why, more) => {
    expect(whyStays(file(more), at)).toBe(why);
  });
});
