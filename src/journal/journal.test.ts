import { mkdtempSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { type Clock, type ErrorCode, isFerryError, systemClock } from '../base/index.ts';
import { Journal, type VmRef } from './index.ts';

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

describe('steps', () => {
  const acts = {
    intended: (j: Journal) => j.intendStep('m1', 's', 'I'),
    done: (j: Journal) => j.confirmStep('m1', 's', 'D'),
    undoing: (j: Journal) => j.undoingStep('m1', 's'),
    undone: (j: Journal) => j.undoneStep('m1', 's', null),
  };
  const order = ['intended', 'done', 'undoing', 'undone'] as const;
  const legal =
    'none>intended intended>intended undone>intended intended>done intended>undoing done>undoing undoing>undoing undoing>undone'.split(
      ' ',
    );

  test.each((['none', ...order] as const).flatMap((from) => order.map((to) => [from, to] as const)))(
    '%s to %s',
    (from, to) => {
      add('m1');
      for (const state of from === 'none' ? [] : order.slice(0, order.indexOf(from) + 1)) acts[state](journal);
      const allowed = legal.includes(`${from}>${to}`);
      expect(codeOf(() => acts[to](journal))).toBe(allowed ? undefined : 'INTERNAL');
      expect(journal.steps('m1').map(({ state }) => state)).toEqual(allowed ? [to] : from === 'none' ? [] : [from]);
    },
  );

  test('are in the order of their first intents, each with its last detail', () => {
    add('m1');
    journal.intendStep('m1', 'prepare', { n: 1 });
    journal.intendStep('m1', 'mirror');
    now = 5000;
    journal.confirmStep('m1', 'mirror', [2]);
    journal.confirmStep('m1', 'prepare');
    journal.undoingStep('m1', 'prepare', null);
    journal.undoneStep('m1', 'prepare');
    journal.intendStep('m1', 'prepare');
    expect(journal.steps('m1')).toEqual([
      { step: 'prepare', state: 'intended', at: 5000, detail: null },
      { step: 'mirror', state: 'done', at: 5000, detail: [2] },
    ]);
    expect(journal.steps('other')).toEqual([]);
    expect(codeOf(() => journal.intendStep('other', 's'))).toBe('INTERNAL');
  });
});

describe('the ledger', () => {
  test('has an entry before the thing is made, and one for what lives', () => {
    add('m1');
    const file = journal.ledgerPlan('m1', {
      kind: 'file',
      name: '/t/a',
      role: 'overlay',
      disk: 'vda',
      detail: { size: 1 },
    });
    expect(file).toEqual({
      id: file.id,
      migration: 'm1',
      kind: 'file',
      name: '/t/a',
      role: 'overlay',
      disk: 'vda',
      state: 'planned',
      detail: { size: 1 },
      createdAt: 1000,
      updatedAt: 1000,
    });
    now = 1500;
    journal.ledgerMade(file.id);
    const again = journal.ledgerPlan('m1', { kind: 'file', name: '/t/a', role: 'else', detail: 7 });
    expect(again).toEqual({ ...file, state: 'made', updatedAt: 1500 });
    journal.ledgerMade(file.id, 'inode 5');
    const node = journal.ledgerPlan('m1', { kind: 'node', name: '/t/a', role: 'overlay' });
    expect(node.id).not.toBe(file.id);
    expect(journal.ledger('m1').map(({ detail }) => detail)).toEqual(['inode 5', null]);
    expect(journal.ledger('m1', { kind: 'node' })).toEqual([node]);
    expect(journal.ledger('m1', { states: ['made'] }).map(({ id }) => id)).toEqual([file.id]);
    expect(journal.ledger('m1', { kind: 'node', states: ['made', 'gone'] })).toEqual([]);
  });

  test('lets what is gone be made anew, as another entry', () => {
    add('m1');
    const first = journal.ledgerPlan('m1', { kind: 'job', name: 'mirror-vda', role: 'mirror' });
    journal.ledgerGone(first.id);
    journal.ledgerGone(first.id);
    expect(codeOf(() => journal.ledgerMade(first.id))).toBe('INTERNAL');
    const second = journal.ledgerPlan('m1', { kind: 'job', name: 'mirror-vda', role: 'mirror' });
    expect(journal.ledger('m1').map(({ id, state }) => [id, state])).toEqual([
      [first.id, 'gone'],
      [second.id, 'planned'],
    ]);
    expect(codeOf(() => journal.ledgerGone(9999))).toBe('INTERNAL');
    expect(codeOf(() => journal.ledgerMade(9999))).toBe('INTERNAL');
  });

  test('gives a path to one unfinished migration only, and names of nodes to each VM', () => {
    add('m1');
    add('m2', { ...vm, uuid: '', process: 'boot/11/1' });
    journal.ledgerPlan('m1', { kind: 'file', name: '/t/base', role: 'copy' });
    journal.ledgerPlan('m1', { kind: 'node', name: 'dst', role: 'mirror' });
    expect(() => journal.ledgerPlan('m2', { kind: 'file', name: '/t/base', role: 'copy' })).toThrow(
      "the file '/t/base' belongs to the unfinished migration m1",
    );
    journal.ledgerPlan('m2', { kind: 'node', name: 'dst', role: 'mirror' });
    journal.update('m1', { state: 'done' });
    journal.ledgerPlan('m2', { kind: 'file', name: '/t/base', role: 'copy' });
  });
});

describe('commit records', () => {
  test('count until they are void, each kind by itself', () => {
    add('m1');
    expect(journal.commitRecord('m1', 'pivot')).toBeUndefined();
    journal.writeCommitRecord('m1', 'pivot', { disks: ['vda'] });
    expect(journal.commitRecord('m1', 'pivot')).toEqual({ kind: 'pivot', detail: { disks: ['vda'] }, at: 1000 });
    expect(journal.commitRecord('m1', 'fold')).toBeUndefined();
    expect(codeOf(() => journal.writeCommitRecord('m1', 'pivot', {}))).toBe('INTERNAL');
    journal.voidCommitRecord('m1', 'pivot', 'cancelled');
    expect(journal.commitRecord('m1', 'pivot')).toBeUndefined();
    now = 9;
    journal.writeCommitRecord('m1', 'pivot', 2);
    expect(journal.commitRecord('m1', 'pivot')).toEqual({ kind: 'pivot', detail: 2, at: 9 });
    journal.voidCommitRecord('m1', 'fold', 'may have been lost');
    expect(journal.commitRecord('m1', 'fold')).toBeUndefined();
    expect(codeOf(() => journal.writeCommitRecord('other', 'pivot', {}))).toBe('INTERNAL');
  });

  test('are written while the journal is quiet without a copy of its log into the file', () => {
    add('m1');
    const file = join(dir, 'journal.db');
    const fill = (): void => {
      journal.transaction(() => {
        for (let i = 0; i < 1500; i += 1) journal.emit('m1', 'e', 'x'.repeat(4000));
      });
    };
    const quiet = journal.quiesce();
    const { size } = statSync(file);
    fill();
    journal.writeCommitRecord('m1', 'pivot', {});
    expect(statSync(file).size).toBe(size);
    quiet[Symbol.dispose]();
    journal.emit('m1', 'pivoted', {});
    expect(statSync(file).size).toBeGreaterThan(size + 1500 * 4000);
    expect(journal.commitRecord('m1', 'pivot')).toBeDefined();
  });

  test('are not written when another process keeps the journal to itself', () => {
    add('m1');
    using other = Journal.open(dir, { clock });
    const quiet = journal.quiesce();
    other.transaction(() => {
      expect(codeOf(() => journal.writeCommitRecord('m1', 'pivot', {}))).toBe('JOURNAL_WRITE');
    });
    quiet[Symbol.dispose]();
    expect(journal.commitRecord('m1', 'pivot')).toBeUndefined();
    journal.writeCommitRecord('m1', 'pivot', {});
    expect(other.commitRecord('m1', 'pivot')).toBeDefined();
  });
});

describe('events and progress', () => {
  test('events are numbered over all migrations and read from any point', () => {
    add('m1');
    add('m2', { ...vm, uuid: '', process: 'boot/11/1' });
    const seqs = ['m1', 'm2', 'm1', 'm1'].map((id, i) => journal.emit(id, 'phase', { i }));
    expect(seqs).toEqual([1, 2, 3, 4]);
    expect(journal.events({ after: 3 })).toEqual([
      { seq: 4, migration: 'm1', type: 'phase', payload: { i: 3 }, at: 1000 },
    ]);
    expect(journal.events({ migration: 'm1', limit: 2 }).map(({ seq }) => seq)).toEqual([1, 3]);
    expect(journal.events({ migration: 'm1', after: 1, limit: 9 }).map(({ seq }) => seq)).toEqual([3, 4]);
    expect(codeOf(() => journal.emit('other', 'x', 1))).toBe('INTERNAL');
  });

  test('progress is the last one of each key', () => {
    add('m1');
    journal.saveProgress('m1', 'vdb', { done: 0, total: 2 ** 40 });
    journal.saveProgress('m1', 'vda', { done: 1, total: 3, rate: 1.5, phase: 'copy' });
    journal.saveProgress('m1', 'vda', { done: 2.4, total: 3 });
    expect(journal.progress('m1')).toEqual([
      { key: 'vda', done: 2, total: 3, at: 1000 },
      { key: 'vdb', done: 0, total: 2 ** 40, at: 1000 },
    ]);
  });
});

describe('transactions', () => {
  test('record all or nothing, also nested', () => {
    add('m1');
    const failing = (): void =>
      journal.transaction(() => {
        journal.emit('m1', 'a', 1);
        journal.transaction(() => journal.intendStep('m1', 's'));
        throw new Error('no');
      });
    expect(failing).toThrow('no');
    expect(journal.events()).toEqual([]);
    expect(journal.steps('m1')).toEqual([]);
    expect(journal.transaction(() => journal.emit('m1', 'a', journal.migration('m1').state))).toBe(1);
  });

  test('are not committed after a statement that failed, even if somebody swallowed the error', () => {
    add('m1');
    const swallowing = (): void =>
      journal.transaction(() => {
        journal.emit('m1', 'a', 1);
        expect(codeOf(() => journal.emit('other', 'a', 1))).toBe('INTERNAL');
      });
    expect(codeOf(swallowing)).toBe('INTERNAL');
    expect(journal.events()).toEqual([]);
  });

  test('are synchronous, and hold JSON only', () => {
    add('m1');
    expect(codeOf(() => journal.transaction(() => Promise.resolve(journal.emit('m1', 'a', 1))))).toBe('INTERNAL');
    expect(codeOf(() => journal.emit('m1', 'a', 1n))).toBe('INTERNAL');
    expect(journal.events()).toEqual([]);
  });
});
