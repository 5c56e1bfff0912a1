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
    db.exec('DROP TABLE snapshots; PRAGMA user_version = 1');
    db.close();
    using journal = Journal.open(dir, { readOnly: true });
    expect(journal.snapshots({ name: 'web', uuid })).toEqual([]);
    expect(journal.snapshotOwners()).toEqual([]);
  });
});
