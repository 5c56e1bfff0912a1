import { describe, expect, test } from 'vitest';
import type { Snapshot } from '../model/snapshot.ts';
import { parseSnapshot } from '../parse/snapshot.ts';
import { listSnapshots, type ListOptions } from './filter.ts';
import {
  addSnapshot,
  childrenOf,
  currentSnapshot,
  deleteSnapshot,
  descendantsOf,
  EMPTY_LIST,
  findSnapshot,
  loadSnapshots,
  nameOf,
  parentOf,
  setCurrent,
  type SnapshotList,
} from './list.ts';
import { redefineSnapshot } from './redefine.ts';

function snapshot(name: string, more: Partial<Snapshot> = {}): Snapshot {
  return { name, state: 'running', disks: [], ...more };
}

/** a - b - c and a - d; current c, then d. */
const TREE: SnapshotList = addSnapshot(
  setCurrent(
    ['a', 'b', 'c'].reduce((list, name) => addSnapshot(list, snapshot(name)), EMPTY_LIST),
    'a',
  ),
  snapshot('d'),
);

function names(snapshots: readonly Snapshot[]): string {
  return snapshots.map(nameOf).join(' ');
}

describe('the tree', () => {
  test('new snapshots go below the current one and become current', () => {
    expect(names(descendantsOf(TREE, undefined))).toBe('a b c d');
    expect(names(childrenOf(TREE, 'a'))).toBe('b d');
    expect(parentOf(TREE, 'c').name).toBe('b');
    expect(currentSnapshot(TREE).name).toBe('d');
  });

  test('look-ups that fail say it as libvirt does', () => {
    expect(() => findSnapshot(TREE, 'x')).toThrow(
      "Domain snapshot not found: no domain snapshot with matching name 'x'",
    );
    expect(() => currentSnapshot(EMPTY_LIST)).toThrow('the domain does not have a current snapshot');
    expect(() => parentOf(TREE, 'a')).toThrow("snapshot 'a' does not have a parent");
    expect(() => addSnapshot(TREE, snapshot('a'))).toThrow('operation failed: domain moment a already exists');
  });

  test('deleting one moves its children up', () => {
    const list = deleteSnapshot(TREE, 'b');
    expect(parentOf(list, 'c').name).toBe('a');
    expect(parentOf(deleteSnapshot(deleteSnapshot(TREE, 'c'), 'b'), 'd').name).toBe('a');
    expect(childrenOf(deleteSnapshot(TREE, 'a'), undefined).map(nameOf)).toEqual(['b', 'd']);
  });

  test('what is current afterwards', () => {
    expect(deleteSnapshot(TREE, 'd').current).toBe('a');
    expect(deleteSnapshot(TREE, 'b').current).toBe('d');
    expect(deleteSnapshot(TREE, 'a', 'children').current).toBeUndefined();
    expect(deleteSnapshot(setCurrent(TREE, 'c'), 'b', 'children').current).toBe('a');
    expect(deleteSnapshot(setCurrent(TREE, 'c'), 'b', 'children-only').current).toBe('b');
    expect(names(deleteSnapshot(TREE, 'a', 'children-only').snapshots)).toBe('a');
  });

  test('loading tolerates broken relations', () => {
    const stored = [
      { snapshot: snapshot('a', { parent: 'b' }), current: true },
      { snapshot: snapshot('b', { parent: 'a' }), current: true },
      { snapshot: snapshot('c', { parent: 'gone' }), current: false },
    ];
    const { list, broken, severalCurrent } = loadSnapshots(stored);
    expect(broken).toEqual([
      { snapshot: 'b', parent: 'a', problem: 'cycle' },
      { snapshot: 'c', parent: 'gone', problem: 'missing' },
    ]);
    expect(severalCurrent).toBe(true);
    expect(list.current).toBeUndefined();
    expect(names(childrenOf(list, undefined))).toBe('b c');
    expect(loadSnapshots([{ snapshot: snapshot('a'), current: true }]).list.current).toBe('a');
  });
});

describe('list filters', () => {
  const list: SnapshotList = {
    snapshots: [
      snapshot('off', { state: 'shutoff' }),
      snapshot('disk', {
        state: 'disk-snapshot',
        parent: 'on',
        disks: [{ name: 'vda', location: 'external', source: { type: 'file' } }],
      }),
      snapshot('on', { parent: 'off', memory: { location: 'external', file: '/m' } }),
      snapshot('dead', { state: 'crashed', parent: 'off' }),
    ],
  };
  const listed = (options: ListOptions): string => names(listSnapshots(list, options));

  test.each<[ListOptions, string]>([
    [{}, 'off disk on dead'],
    [{ flags: ['TOPOLOGICAL'] }, 'off on disk dead'],
    [{ flags: ['ROOTS'] }, 'off'],
    [{ from: 'off' }, 'on dead'],
    [{ from: 'off', flags: ['DESCENDANTS'] }, 'on disk dead'],
    [{ flags: ['LEAVES'] }, 'disk dead'],
    [{ flags: ['NO_LEAVES'] }, 'off on'],
    [{ flags: ['LEAVES', 'NO_LEAVES'] }, ''],
    [{ flags: ['INACTIVE'] }, 'off'],
    [{ flags: ['ACTIVE'] }, 'on dead'],
    [{ flags: ['DISK_ONLY', 'INACTIVE'] }, 'off disk'],
    [{ flags: ['EXTERNAL'] }, 'disk on'],
    [{ flags: ['INTERNAL'] }, 'off dead'],
    [{ flags: ['NO_METADATA'] }, ''],
    [{ flags: ['METADATA', 'NO_METADATA'] }, 'off disk on dead'],
  ])('%j', (options, expected) => {
    expect(listed(options)).toBe(expected);
  });

  test('from a snapshot that is not there', () => {
    expect(() => listed({ from: 'x' })).toThrow("no domain snapshot with matching name 'x'");
  });
});

describe('redefine', () => {
  const UUID = '6695eb01-f6a4-8304-79aa-97f2502e193f';
  const options = { domainUuid: UUID, files: { isRegularFile: () => true } };
  const domain = (more = '', memory = '1024'): string =>
    `<domain type='test'><name>v</name><uuid>${UUID}</uuid><memory unit='KiB'>${memory}</memory><os><type>hvm</type></os><devices><disk type='file'><source file='/a.img'/><target dev='vda'/></disk></devices>${more}</domain>`;
  const read = (name: string, state: string, more = domain()): Snapshot =>
    parseSnapshot(
      `<domainsnapshot><name>${name}</name><state>${state}</state><creationTime>1</creationTime>${more}</domainsnapshot>`,
      { flags: ['REDEFINE'] },
    ).snapshot;
  const below = (parent: string): string => `<parent><name>${parent}</name></parent>${domain()}`;
  const list = redefineSnapshot(
    redefineSnapshot(EMPTY_LIST, read('p', 'running'), options),
    read('q', 'running', below('p')),
    options,
  );

  test('inserts aligned, and does not touch current', () => {
    expect(names(list.snapshots)).toBe('p q');
    expect(list.current).toBeUndefined();
    expect(list.snapshots[0]?.disks).toEqual([{ name: 'vda', location: 'internal', source: { type: 'file' } }]);
    expect(redefineSnapshot(list, read('r', 'running'), { ...options, current: true }).current).toBe('r');
  });

  test('a disk snapshot gets a generated name, and keeps the domain of the one it replaces', () => {
    const first = redefineSnapshot(EMPTY_LIST, read('d', 'disk-snapshot'), options);
    expect(first.snapshots[0]?.disks[0]?.source).toEqual({ type: 'file', path: '/a.d' });
    const again = redefineSnapshot(first, read('d', 'disk-snapshot', ''), options);
    expect(again.snapshots[0]?.domain).toEqual(first.snapshots[0]?.domain);
  });

  test.each<[string, Snapshot, { readonly diskOnly?: boolean }]>([
    ['invalid argument: cannot set moment p as its own parent', read('p', 'running', below('p')), {}],
    ['invalid argument: parent x for moment p not found', read('p', 'running', below('x')), {}],
    ['invalid argument: parent q would create cycle to p', read('p', 'running', below('q')), {}],
    [
      'invalid argument: disk-only flag for snapshot p requires disk-snapshot state',
      read('p', 'running'),
      { diskOnly: true },
    ],
    [
      'invalid argument: cannot change between online and offline snapshot state in snapshot p',
      read('p', 'crashed'),
      {},
    ],
    [
      'unsupported configuration: Target domain max memory 2048 does not match source 1024',
      read('p', 'paused', domain('', '2048')),
      {},
    ],
    ['internal error: missing domain in snapshot', read('n', 'running', ''), {}],
  ])('%s', (message, redefined, more) => {
    expect(() => redefineSnapshot(list, redefined, { ...options, ...more })).toThrow(message);
  });

  test('the uuid must be that of the domain', () => {
    const other = { ...options, domainUuid: '00000000-0000-0000-0000-000000000001' };
    expect(() => redefineSnapshot(EMPTY_LIST, read('p', 'running'), other)).toThrow(
      'invalid argument: definition for snapshot p must use uuid 00000000-0000-0000-0000-000000000001',
    );
  });

  test('disk-snapshot and full system do not change into each other', () => {
    const off = redefineSnapshot(EMPTY_LIST, read('s', 'shutoff'), options);
    expect(() => redefineSnapshot(off, read('s', 'disk-snapshot'), options)).toThrow(
      'invalid argument: cannot change between disk only and full system in snapshot s',
    );
  });
});
