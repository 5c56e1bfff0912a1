import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { type Clock, type ErrorCode, isFerryError, systemClock } from '../base/index.ts';
import { Journal, type MigrationChange, type MigrationState, type VmRef } from './index.ts';

let dir: string;
let journal: Journal;
let now: number;
const clock: Clock = { ...systemClock, now: () => now };

beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'journal-'));
  now = 1000;
  journal = Journal.open(dir, { clock });
});
afterEach(() => {
  journal[Symbol.dispose]();
  rmSync(dir, { recursive: true });
});

const UUID = '0f3c9a12-1111-4222-8333-abcdefabcdef';
const vm: VmRef = { name: 'web', uuid: UUID, process: 'boot/10/77', address: '/run/web.qmp', host: 'h1' };

function add(id: string, ref: VmRef = vm): void {
  journal.addMigration({ id, vm: ref, plan: { disks: ['vda'] }, options: { bwlimit: 1 } });
}

function codeOf(task: () => unknown): ErrorCode | undefined {
  try {
    task();
  } catch (error) {
    if (isFerryError(error)) return error.code;
    throw error;
  }
  return undefined;
}

function goalOf(state: MigrationState): MigrationChange {
  return state === 'rolling-back' || state === 'rolled-back' ? { goal: 'back' } : {};
}

describe('migrations', () => {
  test('are kept with all that was given, over a reopening', () => {
    add('m1');
    now = 2000;
    journal.update('m1', { message: 'copying', plan: { disks: ['vda', 'vdb'] }, options: null });
    journal[Symbol.dispose]();
    journal = Journal.open(dir, { clock });
    expect(journal.migration('m1')).toEqual({
      id: 'm1',
      vm,
      state: 'running',
      goal: 'forward',
      plan: { disks: ['vda', 'vdb'] },
      options: null,
      message: 'copying',
      createdAt: 1000,
      updatedAt: 2000,
    });
    now = 3000;
    journal.update('m1', { state: 'done' });
    now = 4000;
    journal.update('m1', { message: 'moved 2 disks' });
    expect(journal.migration('m1')).toMatchObject({ state: 'done', finishedAt: 3000, updatedAt: 4000 });
  });

  test('are found by id, by the beginning of one, and listed', () => {
    add('abc');
    add('abcd', { ...vm, uuid: '', process: 'boot/11/1' });
    add('x_1', { ...vm, uuid: '', process: 'boot/12/1' });
    journal.update('abcd', { state: 'done' });
    expect(journal.findMigration('abc').id).toBe('abc');
    expect(journal.findMigration('abcd').id).toBe('abcd');
    expect(journal.findMigration('x').id).toBe('x_1');
    expect(() => journal.findMigration('ab')).toThrow("'ab' is the beginning of several migrations: abc, abcd");
    for (const id of ['', '%', '_', 'y', 'x_12']) {
      expect(codeOf(() => journal.findMigration(id))).toBe('NO_SUCH_MIGRATION');
    }
    expect(codeOf(() => journal.migration('ab'))).toBe('NO_SUCH_MIGRATION');
    expect(journal.migrations({ unfinished: true }).map(({ id }) => id)).toEqual(['abc', 'x_1']);
    expect(journal.migrations({ unfinished: false }).map(({ id }) => id)).toEqual(['abcd']);
  });

  test.each<[string, Partial<VmRef>, boolean]>([
    ['the same VM', {}, true],
    ['the same uuid in another process', { process: 'boot/99/1', address: '/other' }, true],
    ['the same uuid in upper case', { uuid: UUID.toUpperCase(), process: '', address: '/o' }, true],
    ['the same uuid on another host', { host: 'h2', process: 'boot2/10/77' }, false],
    ['the same process with another uuid', { uuid: UUID.replace('0', '1') }, true],
    ['the same process without uuid', { uuid: '' }, true],
    ['another uuid, another process', { uuid: UUID.replace('0', '1'), process: 'boot/98/1' }, false],
    ['the same address only', { uuid: '', process: 'boot/98/1' }, false],
  ])('a second one of %s', (_, change, refused) => {
    add('m1');
    expect(codeOf(() => add('m2', { ...vm, ...change }))).toBe(refused ? 'MIGRATION_EXISTS' : undefined);
  });

  test.each<[string, Partial<VmRef>, boolean]>([
    ['the same address', {}, true],
    ['another address', { address: 'host:2' }, false],
    ['the same address, with a uuid', { uuid: UUID }, false],
    ['the same address on another host', { host: 'h2' }, false],
    ['the same address and a process', { process: 'boot/1/1' }, false],
  ])('a second one of a VM without uuid and process at %s', (_, change, refused) => {
    const remote = { ...vm, uuid: '00000000-0000-0000-0000-000000000000', process: '', address: 'host:1' };
    add('m1', remote);
    expect(codeOf(() => add('m2', { ...remote, ...change }))).toBe(refused ? 'MIGRATION_EXISTS' : undefined);
  });

  test('a second one names the first, and is welcome when that is finished', () => {
    add('m1');
    expect(() => add('m2')).toThrow("virtual machine 'web' has an unfinished migration: m1");
    journal.update('m1', { state: 'attention' });
    expect(codeOf(() => add('m2'))).toBe('MIGRATION_EXISTS');
    journal.update('m1', { state: 'done' });
    add('m2');
    expect(journal.migrations().map(({ id }) => id)).toEqual(['m1', 'm2']);
  });

  test.each(['', '../x', 'a/b', '-a', 'a'.repeat(65), 'a b'])('the id %j is refused', (id) => {
    expect(codeOf(() => add(id))).toBe('INTERNAL');
  });
});

describe('the state of a migration', () => {
  const ways: Record<MigrationState, MigrationState[]> = {
    running: ['running', 'paused', 'rolling-back', 'attention', 'done', 'rolled-back'],
    paused: ['running', 'paused', 'rolling-back', 'attention', 'done', 'rolled-back'],
    'rolling-back': ['rolling-back', 'attention', 'rolled-back'],
    attention: ['running', 'rolling-back', 'attention', 'done', 'rolled-back'],
    done: ['done'],
    'rolled-back': ['rolled-back'],
  };
  const states = Object.keys(ways) as MigrationState[];
  test.each(states.flatMap((from) => states.map((to) => [from, to] as const)))('%s to %s', (from, to) => {
    add('m1');
    if (from !== 'running') journal.update('m1', { state: from, ...goalOf(from) });
    const { goal } = journal.migration('m1');
    const allowed = ways[from].includes(to) && !(goal === 'back' && to === 'done');
    expect(codeOf(() => journal.update('m1', { state: to, ...goalOf(to) }))).toBe(allowed ? undefined : 'INTERNAL');
    expect(journal.migration('m1').state).toBe(allowed ? to : from);
  });

  test('goes with its goal, and the goal never from back to forward', () => {
    add('m1');
    expect(codeOf(() => journal.update('m1', { state: 'rolling-back' }))).toBe('INTERNAL');
    expect(codeOf(() => journal.update('m1', { state: 'rolled-back' }))).toBe('INTERNAL');
    expect(codeOf(() => journal.update('m1', { state: 'done', goal: 'back' }))).toBe('INTERNAL');
    journal.update('m1', { goal: 'back' });
    expect(codeOf(() => journal.update('m1', { goal: 'forward' }))).toBe('INTERNAL');
    expect(codeOf(() => journal.update('m1', { state: 'done' }))).toBe('INTERNAL');
    journal.update('m1', { state: 'rolled-back' });
    expect(codeOf(() => journal.update('nope', {}))).toBe('NO_SUCH_MIGRATION');
  });

  test('cannot turn back while the commit record of the pivot stands', () => {
    add('m1');
    journal.writeCommitRecord('m1', 'pivot', {});
    expect(codeOf(() => journal.update('m1', { goal: 'back' }))).toBe('INTERNAL');
    journal.voidCommitRecord('m1', 'pivot', 'cancelled');
    journal.update('m1', { goal: 'back' });
    expect(codeOf(() => journal.writeCommitRecord('m1', 'pivot', {}))).toBe('INTERNAL');
    journal.writeCommitRecord('m1', 'fold', {});
  });
});
