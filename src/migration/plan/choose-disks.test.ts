import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import type { Disk } from '../../vm/index.ts';
import { chooseDisks, disksAreThere } from './choose-disks.ts';
import { DEFAULT_REQUEST, type MigrationRequest } from './request.ts';
import { sampleChain, sampleDisk } from './testing/sample-survey.ts';

const disk = (id: string, more: Partial<Disk> = {}): Disk => sampleDisk(id, sampleChain(`/fast/${id}.qcow2`), more);
const { rootNode: _, ...empty } = disk('cd', { removable: true });
const DISKS = [disk('a'), disk('b'), disk('ro', { readOnly: true }), empty];
const request = (more: Partial<MigrationRequest>): MigrationRequest => ({ ...DEFAULT_REQUEST, to: '/big', ...more });
const chosen = (disks: readonly Disk[], asked: MigrationRequest): [string, string | undefined][] =>
  chooseDisks(disks, asked).chosen.map(({ disk: { id }, folder }) => [id, folder]);

describe('which disks move', () => {
  test('every one that the guest can write to, where none is named', () => {
    expect(chosen(DISKS, request({}))).toEqual([
      ['a', '/big'],
      ['b', '/big'],
    ]);
    expect(chooseDisks(DISKS, request({})).left).toEqual([
      { disk: 'ro', reason: 'it is read-only' },
      { disk: 'cd', reason: 'the drive is empty' },
    ]);
  });

  test('those that are named, by any name, each to its own folder or the common one', () => {
    const disks = [{ name: 'node-b', to: '/other' }, { name: 'a' }];
    expect(chosen(DISKS, request({ disks }))).toEqual([
      ['a', '/big'],
      ['b', '/other'],
    ]);
  });

  test('also one that is going to be refused, so that the refusal says why', () => {
    expect(chosen(DISKS, request({ disks: [{ name: 'ro' }] }))).toEqual([['ro', '/big']]);
  });

  test('none of an unknown name', () => {
    const { unknown, chosen: none } = chooseDisks(DISKS, request({ disks: [{ name: 'vdz' }] }));
    expect([unknown, none]).toEqual([['vdz'], []]);
  });

  test('each drive is chosen or left, never both', () => {
    const disks = fc
      .uniqueArray(
        fc.record({
          id: fc.constantFrom('a', 'b', 'c', 'd', 'e', 'f'),
          readOnly: fc.boolean(),
          removable: fc.boolean(),
        }),
        {
          selector: ({ id }) => id,
        },
      )
      .map((drives) => drives.map(({ id, ...more }) => disk(id, more)));
    const names = fc.array(fc.constantFrom('a', 'b', 'c', 'y', 'z').map((name) => ({ name })));
    fc.assert(
      fc.property(disks, names, (drives, asked) => {
        const choice = chooseDisks(drives, request({ disks: asked }));
        const all = [...choice.chosen.map((each) => each.disk.id), ...choice.left.map((each) => each.disk)];
        expect(all.toSorted()).toEqual(drives.map(({ id }) => id).toSorted());
        for (const { name } of asked) {
          expect(choice.unknown.includes(name)).toBe(!drives.some(({ id }) => id === name));
        }
      }),
    );
  });
});

describe('whether the disks are there already', () => {
  test('only when each one that is asked for is in its own folder', () => {
    expect(disksAreThere(DISKS, request({}))).toBe(false);
    expect(disksAreThere(DISKS, request({ to: '/fast' }))).toBe(true);
    expect(disksAreThere(DISKS, request({ to: '/fast', disks: [{ name: 'a' }, { name: 'b', to: '/big' }] }))).toBe(
      false,
    );
  });

  test('never for a disk that there is not', () => {
    expect(disksAreThere(DISKS, request({ to: '/fast', disks: [{ name: 'a' }, { name: 'x' }] }))).toBe(false);
    expect(disksAreThere([], request({ to: '/fast' }))).toBe(false);
  });
});
