import { accessSync, constants, statSync } from 'node:fs';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { type Clock, errnoOf, ferryError, isFerryError, messageOf } from '../base/index.ts';
import { Database } from './database.ts';
import { APPLICATION_ID, schemaFiles } from './schema.ts';
import { checkPrivateDirectory, createPrivateFile, makePrivateDirectory } from './state-directory.ts';

const PATIENCE_MS = 10_000;

/**
 * Opens the journal's file, creates or upgrades it, and checks it: the pragmas that durability rests on are read back,
 * and every page is looked at. Read-only, a journal that does not exist reads as an empty one.
 * @throws FerryError JOURNAL_UNAVAILABLE, JOURNAL_UNSAFE, JOURNAL_VERSION, JOURNAL_DAMAGED, JOURNAL_WRITE
 */
export function openDatabase(directory: string, readOnly: boolean, clock: Clock): Database {
  const path = join(directory, 'journal.db');
  if (readOnly && size(path) === 0) return openEmpty();
  if (readOnly) checkPrivateDirectory(directory);
  else makeFile(directory, path);
  // SQLite needs the log's index file even to read, unless it is told that nobody can write: so it is on a read-only file
  // system. Where a log is left there, it must be read, and SQLite decides whether it can.
  const immutable = readOnly && size(`${path}-wal`) === 0 && !canWrite(directory);
  const database = new Database(immutable ? immutableUrl(path) : path, { readOnly });
  try {
    const old = database.snapshot(() => checkVersion(database)) < schemaFiles().length;
    if (readOnly) {
      if (old) openDatabase(directory, false, clock)[Symbol.dispose]();
    } else {
      enterWal(database, clock);
      if (old) upgrade(database);
      setPragmas(database);
    }
    quickCheck(database);
    return database;
  } catch (error) {
    database[Symbol.dispose]();
    throw error;
  }
}

/** Bytes of the file; 0 when there is none. A file without bytes is one that another process is about to fill. */
function size(path: string): number {
  return statSync(path, { throwIfNoEntry: false })?.size ?? 0;
}

function makeFile(directory: string, path: string): void {
  makePrivateDirectory(directory);
  try {
    accessSync(directory, constants.W_OK);
    createPrivateFile(path);
  } catch (error) {
    throw ferryError('JOURNAL_UNAVAILABLE', { path, reason: messageOf(error) }, { cause: error });
  }
}

/** False only on a read-only file system: missing permissions say nothing about others. */
function canWrite(directory: string): boolean {
  try {
    accessSync(directory, constants.W_OK);
    return true;
  } catch (error) {
    return errnoOf(error) !== 'EROFS';
  }
}

function immutableUrl(path: string): URL {
  const url = pathToFileURL(path);
  url.searchParams.set('immutable', '1');
  return url;
}

function openEmpty(): Database {
  const database = new Database(':memory:', { readOnly: false });
  upgrade(database);
  database.pragma('query_only = ON');
  return database;
}

/**
 * Write-ahead logging is a property of the file, so only the first to open it changes anything. SQLite does not wait for
 * the locks of this change as it does for others, so that two who create the journal at once need a second try.
 */
function enterWal(database: Database, clock: Clock): void {
  const start = clock.monotonic();
  for (;;) {
    try {
      const mode = database.pragma('journal_mode = WAL');
      if (mode === 'wal') return;
      throw notHeld(database, 'journal_mode', String(mode), 'wal');
    } catch (error) {
      if (!isFerryError(error, 'JOURNAL_UNAVAILABLE') || error.details['busy'] !== true) throw error;
      if (clock.monotonic() - start > PATIENCE_MS) throw error;
      pause(10);
    }
  }
}

/** Blocks the thread: opening is synchronous, as all of node:sqlite is. */
function pause(ms: number): void {
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, ms);
}

function setPragmas(database: Database): void {
  const wanted = { journal_mode: 'wal', synchronous: 2, foreign_keys: 1 } as const;
  database.pragma('synchronous = FULL');
  database.pragma('foreign_keys = ON');
  for (const [name, value] of Object.entries(wanted)) {
    const held = database.pragma(name);
    if (held !== value) throw notHeld(database, name, String(held), String(value));
  }
  // SQLite opens a file that it may not write without a word, and says so at the first write: let that be now.
  database.write(() => undefined);
}

function notHeld(database: Database, name: string, held: string, wanted: string): Error {
  return ferryError('JOURNAL_UNAVAILABLE', {
    path: database.path,
    reason: `SQLite keeps ${name} at '${held}' although '${wanted}' was asked for`,
  });
}

/** In one snapshot: another process may be about to fill the file. */
function checkVersion(database: Database): number {
  const found = Number(database.pragma('user_version'));
  const known = schemaFiles().length;
  if (found > known) throw ferryError('JOURNAL_VERSION', { path: database.path, found, known });
  const application = Number(database.pragma('application_id'));
  const tables = Number(database.get('SELECT count(*) AS n FROM sqlite_schema')?.['n']);
  if (found > 0 ? application !== APPLICATION_ID : tables > 0) {
    throw ferryError('JOURNAL_UNAVAILABLE', { path: database.path, reason: 'it is a database of something else' });
  }
  return found;
}

/** Applies what is missing, all in one transaction. Another process may have been faster, so the version is read in it. */
function upgrade(database: Database): void {
  database.write(() => {
    const version = Number(database.pragma('user_version'));
    for (const { number, sql } of schemaFiles()) {
      if (number <= version) continue;
      database.script(sql);
      database.pragma(`user_version = ${number}`);
    }
  });
}

function quickCheck(database: Database): void {
  const found = database.pragma('quick_check(1)');
  if (found !== 'ok') throw ferryError('JOURNAL_DAMAGED', { path: database.path, reason: String(found) });
}
