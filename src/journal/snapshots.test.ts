import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { Journal } from './index.ts';

let dir: string;

beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'journal-snapshots-'));
});
afterEach(() => rmSync(dir, { recursive: true }));

const uuid = '6695eb01-f6a4-8304-79aa-97f2502e193f';
const a = { name: 'a', xml: '<a/>', current: false };
const b = { name: 'b', xml: '<b/>', current: true };

function broken(): never {
  throw new Error('x');
}

describe('snapshots', () => {
  test('are kept in their order, and replaced all at once', () => {
    const vm = { name: 'web', uuid };
    {
      using journal = Journal.open(dir);
      expect(journal.snapshots(vm)).toEqual([]);
      journal.changeSnapshots(vm, () => [b, a]);
      expect(() => journal.changeSnapshots(vm, broken)).toThrow('x');
    }
    using journal = Journal.open(dir);
    expect(journal.snapshots(vm)).toEqual([b, a]);
    journal.changeSnapshots(vm, (former) => former.filter(({ name }) => name !== 'b'));
    expect(journal.snapshots(vm)).toEqual([a]);
  });

  test('belong to a UUID, whatever the name; to a name where there is none', () => {
    using journal = Journal.open(dir);
    journal.changeSnapshots({ name: 'web', uuid }, () => [a]);
    journal.changeSnapshots({ name: 'web', uuid: '' }, () => [b]);
    expect(journal.snapshots({ name: 'renamed', uuid: uuid.toUpperCase() })).toEqual([a]);
    expect(journal.snapshots({ name: 'web', uuid: '00000000-0000-0000-0000-000000000000' })).toEqual([b]);
    expect(journal.snapshots({ name: 'other', uuid: '' })).toEqual([]);
    expect(journal.snapshotOwners()).toEqual([
      { name: 'web', uuid },
      { name: 'web', uuid: '' },
    ]);
  });

  test('a journal of before, opened to look on, has none', () => {
    Journal.open(dir)[Symbol.dispose]();
    const db = new DatabaseSync(join(dir, 'journal.db'));
    db.exec('DROP TABLE snapshots; DROP TABLE snapshot_intents; PRAGMA user_version = 1');
    db.close();
    using journal = Journal.open(dir, { readOnly: true });
    expect(journal.snapshots({ name: 'web', uuid })).toEqual([]);
    expect(journal.snapshotOwners()).toEqual([]);
    expect(journal.snapshotIntents()).toEqual([]);
  });
});

describe('intents of snapshots', () => {
  const vm = { name: 'web', uuid: uuid.toUpperCase(), process: 'boot/7/1', address: '/run/q', host: 'h' };
  const other = { ...vm, name: 'db', uuid: '', process: 'boot/8/1' };

  test('are kept until they are ended, one for each VM', () => {
    {
      using journal = Journal.open(dir);
      journal.addSnapshotIntent({ id: 's1', name: 'snap', vm, plan: { a: 1 } });
      journal.addSnapshotIntent({ id: 's2', name: 'snap', vm: other, plan: null });
      journal.updateSnapshotIntent('s1', { a: 2 });
      const again = { id: 's3', name: 'more', vm: { ...vm, name: 'renamed', process: 'boot/9/1' }, plan: null };
      expect(() => journal.addSnapshotIntent(again)).toThrow("has an unfinished snapshot, 'snap'");
    }
    using journal = Journal.open(dir);
    const [found, ...more] = journal.snapshotIntents({ name: 'x', uuid });
    expect(more).toEqual([]);
    expect(found).toMatchObject({ id: 's1', name: 'snap', vm: { ...vm, uuid }, plan: { a: 2 } });
    expect(journal.snapshotIntents({ name: 'db', uuid: '' }).map(({ id }) => id)).toEqual(['s2']);
    expect(journal.snapshotIntents({ name: 'x', uuid: '' })).toEqual([]);
    journal.endSnapshotIntent('s1');
    expect(journal.snapshotIntents().map(({ id }) => id)).toEqual(['s2']);
  });

  test('and migrations keep each other out', () => {
    using journal = Journal.open(dir);
    const migration = { id: 'm1', vm, plan: null, options: null };
    journal.addSnapshotIntent({ id: 's1', name: 'snap', vm, plan: null });
    expect(() => journal.addMigration(migration)).toThrow("has an unfinished snapshot, 'snap'");
    expect(journal.migrations()).toEqual([]);
    journal.endSnapshotIntent('s1');
    journal.addMigration(migration);
    expect(() => journal.addSnapshotIntent({ id: 's2', name: 'snap', vm, plan: null })).toThrow(
      'has an unfinished migration: m1',
    );
    expect(journal.snapshotIntents()).toEqual([]);
  });
});
