import { execFileSync } from 'node:child_process';
import { chmodSync, mkdirSync, mkdtempSync, readdirSync, rmSync, statSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { type FerryError, isFerryError } from '../base/index.ts';
import { Journal } from './index.ts';
import { schemaFiles } from './schema.ts';

let dir: string;
let file: string;

beforeEach(() => {
  dir = join(mkdtempSync(join(tmpdir(), 'journal-file-')), 'state');
  file = join(dir, 'journal.db');
});
afterEach(() => rmSync(join(dir, '..'), { recursive: true }));

const vm = { name: 'web', uuid: '', process: 'boot/1/1', address: '/q', host: 'h' };

/** A journal with one migration and so many events, closed again. */
function makeJournal(events = 0): void {
  using journal = Journal.open(dir);
  journal.addMigration({ id: 'm1', vm, plan: null, options: null });
  for (let i = 0; i < events; i += 1) journal.emit('m1', 'e', { i, text: 'x'.repeat(500) });
}

function errorOf(task: () => unknown): FerryError | undefined {
  try {
    task();
  } catch (error) {
    if (isFerryError(error)) return error;
    throw error;
  }
  return undefined;
}

function opening(readOnly = false): FerryError | undefined {
  return errorOf(() => Journal.open(dir, { readOnly })[Symbol.dispose]());
}

/** Runs SQL on the file as nobody should. */
function tamper(sql: string): void {
  const db = new DatabaseSync(file);
  db.exec(sql);
  db.close();
}

function overwrite(offset: number, length: number): void {
  execFileSync('dd', ['if=/dev/urandom', `of=${file}`, 'bs=1', `seek=${offset}`, `count=${length}`, 'conv=notrunc'], {
    stdio: 'ignore',
  });
}

describe('the file', () => {
  test('is made with all folders above it, for its user alone', () => {
    dir = join(dir, 'deep', 'er');
    file = join(dir, 'journal.db');
    using journal = Journal.open(dir);
    expect(journal.dir).toBe(dir);
    expect(statSync(dir).mode & 0o777).toBe(0o700);
    expect(readdirSync(dir).toSorted()).toEqual(['journal.db', 'journal.db-shm', 'journal.db-wal']);
    for (const name of readdirSync(dir)) expect(statSync(join(dir, name)).mode & 0o777).toBe(0o600);
    dir = join(dir, '..', '..');
  });

  test('has this schema; a released version is never changed', async () => {
    makeJournal();
    const db = new DatabaseSync(file);
    const rows = db.prepare('SELECT sql FROM sqlite_schema WHERE sql IS NOT NULL ORDER BY type DESC, name').all();
    const version = db.prepare('PRAGMA user_version').get()?.['user_version'];
    db.close();
    expect(version).toBe(schemaFiles().length);
    expect(schemaFiles().map(({ number }) => number)).toEqual(schemaFiles().map((_, i) => i + 1));
    const dump = rows.map((row) => `${String(row['sql'])};\n`).join('\n');
    await expect(`version ${String(version)}\n\n${dump}`).toMatchFileSnapshot('schema.golden.txt');
  });

  test('refuses a journal of a newer version and leaves it alone', () => {
    makeJournal();
    tamper('PRAGMA user_version = 999');
    for (const readOnly of [false, true]) {
      expect(opening(readOnly)?.message).toBe(
        `the journal '${file}' has version 999; this blockferry knows versions up to ${schemaFiles().length}`,
      );
    }
    tamper(`PRAGMA user_version = ${schemaFiles().length}`);
    expect(opening()).toBeUndefined();
  });

  test.each(['CREATE TABLE theirs (a)', 'CREATE TABLE theirs (a); PRAGMA user_version = 1'])(
    'refuses a database of something else (%s)',
    (sql) => {
      mkdirSync(dir, { mode: 0o700 });
      tamper(sql);
      expect(opening()?.message).toContain('it is a database of something else');
      expect(new DatabaseSync(file).prepare('PRAGMA journal_mode').get()).toEqual({ journal_mode: 'delete' });
    },
  );

  test('refuses a folder that others can write to, and one that is none', () => {
    mkdirSync(dir);
    chmodSync(dir, 0o770);
    expect(opening()?.message).toBe(`the state directory '${dir}' is not safe: others can write to it (mode 770)`);
    chmodSync(dir, 0o755);
    expect(opening()).toBeUndefined();
    writeFileSync(join(dir, 'plain'), '');
    expect(errorOf(() => Journal.open(join(dir, 'plain')))?.code).toBe('JOURNAL_UNAVAILABLE');
    expect(errorOf(() => Journal.open(join(dir, 'plain', 'below')))?.code).toBe('JOURNAL_UNAVAILABLE');
    mkdirSync(join(dir, 'odd', 'journal.db'), { recursive: true });
    expect(errorOf(() => Journal.open(join(dir, 'odd')))?.code).toBe('JOURNAL_UNAVAILABLE');
  });
});

describe('a damaged journal', () => {
  test.each<[string, () => void]>([
    ['a page was overwritten', () => overwrite(4096 * 5, 4096)],
    ['the header was overwritten', () => overwrite(0, 100)],
    ['pages are missing', () => truncateSync(file, 4096 * 8)],
    ['it is text', () => writeFileSync(file, 'this is not a database, and rather long to be one\n'.repeat(100))],
  ])('is told and not opened: %s', (_, damage) => {
    makeJournal(300);
    damage();
    for (const readOnly of [false, true]) expect(opening(readOnly)?.code).toBe('JOURNAL_DAMAGED');
  });
});

describe('a journal that is only read', () => {
  test('is empty when there is none, and nothing is created', () => {
    using journal = Journal.open(dir, { readOnly: true });
    expect(journal.migrations()).toEqual([]);
    expect(errorOf(() => journal.findMigration('m'))?.message).toBe(`the journal in '${dir}' has no migration 'm'`);
    expect(errorOf(() => journal.emit('m1', 'e', 1))?.code).toBe('JOURNAL_WRITE');
    expect(readdirSync(join(dir, '..'))).toEqual([]);
  });

  test('shows what a writer has just written, and writes nothing', () => {
    makeJournal();
    using writer = Journal.open(dir);
    using reader = Journal.open(dir, { readOnly: true });
    writer.emit('m1', 'e', 'new');
    expect(reader.events().map(({ payload }) => payload)).toEqual(['new']);
    expect(errorOf(() => reader.emit('m1', 'e', 1))?.code).toBe('JOURNAL_WRITE');
    expect(writer.events()).toHaveLength(1);
  });
});

// Mounting needs root; elsewhere these are reported as skipped.
describe.skipIf(process.getuid?.() !== 0)('on a file system of its own', () => {
  beforeEach(() => {
    mkdirSync(dir);
    execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=512k,mode=700', 'tmpfs', dir]);
  });
  afterEach(() => void execFileSync('umount', [dir]));

  test('a write for which there is no space is an error, and nothing of it was recorded', () => {
    makeJournal();
    using journal = Journal.open(dir);
    let written = 0;
    const fill = (): void => {
      for (;;) {
        journal.transaction(() => {
          for (let i = 0; i < 3; i += 1) journal.emit('m1', 'e', 'x'.repeat(3000));
        });
        written += 3;
      }
    };
    expect(errorOf(fill)?.code).toBe('JOURNAL_WRITE');
    expect(errorOf(() => journal.writeCommitRecord('m1', 'pivot', 'x'.repeat(100_000)))?.code).toBe('JOURNAL_WRITE');
    expect(journal.commitRecord('m1', 'pivot')).toBeUndefined();
    expect(journal.events()).toHaveLength(written);
    execFileSync('mount', ['-o', 'remount,size=4m', dir]);
    journal.writeCommitRecord('m1', 'pivot', 'x'.repeat(100_000));
    using reader = Journal.open(dir, { readOnly: true });
    expect(reader.commitRecord('m1', 'pivot')).toBeDefined();
    expect(reader.events()).toHaveLength(written);
  });

  test('that is read-only, a journal can be read and not opened for writing', () => {
    makeJournal(3);
    execFileSync('mount', ['-o', 'remount,ro', dir]);
    expect(opening()?.message).toContain(`the journal '${file}' cannot be used: EROFS`);
    using journal = Journal.open(dir, { readOnly: true });
    expect(journal.events()).toHaveLength(3);
  });

  test('that became read-only while a journal was open, its log is read too', () => {
    makeJournal(3);
    using left = Journal.open(dir);
    left.emit('m1', 'e', 'in the log');
    execFileSync('cp', ['-r', dir, `${dir}2`]);
    execFileSync('mount', ['--bind', `${dir}2`, `${dir}2`]);
    try {
      execFileSync('mount', ['-o', 'remount,ro,bind', `${dir}2`]);
      using journal = Journal.open(`${dir}2`, { readOnly: true });
      expect(journal.events()).toHaveLength(4);
    } finally {
      execFileSync('umount', [`${dir}2`]);
    }
  });
});
