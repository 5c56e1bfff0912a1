import { DatabaseSync, type SQLInputValue, type SQLOutputValue, type StatementSync } from 'node:sqlite';
import { fileURLToPath } from 'node:url';
import { ferryError } from '../base/index.ts';
import { type FaultPhase, sqliteFault } from './sqlite-fault.ts';

export type Row = Readonly<Record<string, SQLOutputValue>>;
export type Parameters = Readonly<Record<string, SQLInputValue>>;

/** Milliseconds that a write waits for the write of another process. */
const BUSY_TIMEOUT_MS = 10_000;

/**
 * While the guest's I/O is held nobody waits for long: a record that cannot be written within this is a failed pivot,
 * which is rolled back, and better than a guest that waits for a stalled process.
 */
const BUSY_TIMEOUT_QUIET_MS = 1000;

/** SQLite's own default: a commit that leaves more pages than this in the write-ahead log copies them to the file. */
const AUTOCHECKPOINT_PAGES = 1000;

/**
 * One connection to the journal's file: statements prepared once, one level of transactions, SQLite's errors told as
 * blockferry's. Knows nothing of what is stored.
 */
export class Database implements Disposable {
  readonly path: string;
  readonly #db: DatabaseSync;
  readonly #statements: Map<string, StatementSync> = new Map();
  #inside = false;
  /** The first error of a statement in this transaction. SQLite may have rolled back by itself, so it cannot go on. */
  #doomed: Error | undefined;

  /** A URL carries SQLite's own parameters (https://www.sqlite.org/uri.html). */
  constructor(file: string | URL, options: { readonly readOnly: boolean }) {
    this.path = typeof file === 'string' ? file : fileURLToPath(file);
    try {
      this.#db = new DatabaseSync(file, { readOnly: options.readOnly, timeout: BUSY_TIMEOUT_MS });
    } catch (error) {
      throw sqliteFault(error, this.path, 'read');
    }
  }

  [Symbol.dispose](): void {
    this.#statements.clear();
    this.#db.close();
  }

  /** Several statements without parameters or results. */
  script(sql: string): void {
    this.#guard(() => this.#db.exec(sql));
  }

  /** The first value of the first row of a pragma. */
  pragma(text: string): SQLOutputValue | undefined {
    return this.#guard(() => Object.values(this.#db.prepare(`PRAGMA ${text}`).get() ?? {})[0]);
  }

  get(sql: string, parameters: Parameters = {}): Row | undefined {
    return this.#guard(() => this.prepare(sql).get(parameters));
  }

  all(sql: string, parameters: Parameters = {}): Row[] {
    return this.#guard(() => this.prepare(sql).all(parameters));
  }

  /** Changes rows; only inside `write`. Returns the row id of an insert. */
  run(sql: string, parameters: Parameters = {}): number {
    if (!this.#inside) throw ferryError('INTERNAL', { what: 'a write outside a transaction' });
    return this.#guard(() => Number(this.prepare(sql).run(parameters).lastInsertRowid));
  }

  /** Compiles a statement now, so that its first use does not. */
  prepare(sql: string): StatementSync {
    const known = this.#statements.get(sql);
    if (known) return known;
    const statement = this.#db.prepare(sql);
    this.#statements.set(sql, statement);
    return statement;
  }

  /**
   * Runs the function in one transaction that has the write lock from its start (BEGIN IMMEDIATE: what it reads is still
   * so when it writes), and returns when all of it is on disk. Inside another it joins that one.
   * @throws FerryError JOURNAL_WRITE when nothing was recorded, JOURNAL_OUTCOME when that is not known
   */
  write<T>(task: () => T): T {
    if (this.#inside) return task();
    this.#guard(() => this.prepare('BEGIN IMMEDIATE').run(), 'write');
    this.#inside = true;
    let committing = false;
    try {
      const result = task();
      if (result instanceof Promise) throw ferryError('INTERNAL', { what: 'an asynchronous transaction' });
      if (this.#doomed) throw this.#doomed;
      committing = true;
      this.prepare('COMMIT').run();
      return result;
    } catch (error) {
      // Some errors (disk full, I/O) make SQLite roll back by itself; a second ROLLBACK would be an error of its own.
      if (this.#db.isTransaction) this.#db.exec('ROLLBACK');
      throw committing ? sqliteFault(error, this.path, 'commit') : error;
    } finally {
      this.#inside = false;
      this.#doomed = undefined;
    }
  }

  /** Runs look-ups that must see one and the same state of the file. */
  snapshot<T>(task: () => T): T {
    if (this.#db.isTransaction) return task();
    this.#guard(() => this.#db.exec('BEGIN'));
    try {
      return task();
    } finally {
      if (this.#db.isTransaction) this.#db.exec('ROLLBACK');
    }
  }

  /**
   * From here until it is disposed of, a commit writes the write-ahead log and nothing else: what is in the log is copied
   * to the file now, the log is started afresh by a small write (the first write after that syncs the log's header too,
   * and overwrites blocks that the file system has already given to it), and no commit copies the log again.
   */
  quiet(warmUp: () => void): Disposable {
    this.pragma(`busy_timeout = ${BUSY_TIMEOUT_QUIET_MS}`);
    this.pragma('wal_checkpoint(PASSIVE)');
    this.pragma('wal_autocheckpoint = 0');
    warmUp();
    return {
      [Symbol.dispose]: (): void => {
        this.pragma(`wal_autocheckpoint = ${AUTOCHECKPOINT_PAGES}`);
        this.pragma(`busy_timeout = ${BUSY_TIMEOUT_MS}`);
      },
    };
  }

  #guard<T>(task: () => T, phase: FaultPhase = this.#inside ? 'write' : 'read'): T {
    try {
      return task();
    } catch (error) {
      const fault = sqliteFault(error, this.path, phase);
      if (this.#inside && fault instanceof Error) this.#doomed ??= fault;
      throw fault;
    }
  }
}
