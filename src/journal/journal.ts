import { resolve } from 'node:path';
import { type Clock, systemClock } from '../base/index.ts';
import * as records from './commit-records.ts';
import type { Database } from './database.ts';
import * as eventLog from './events.ts';
import * as ledgers from './ledger.ts';
import * as rows from './migrations.ts';
import { openDatabase } from './open-database.ts';
import * as intents from './snapshot-intents.ts';
import * as kept from './snapshots.ts';
import * as stepLog from './steps.ts';

export interface JournalOptions {
  readonly clock?: Clock;
  /** For who looks on only. A journal that does not exist reads as an empty one. */
  readonly readOnly?: boolean;
}

/**
 * What was decided and done, durable: one per host, in one SQLite file that several processes have open at once. Every
 * method that writes returns when the write is on disk (SQLite's write-ahead log, synced at each commit).
 *
 * Each such method throws FerryError JOURNAL_WRITE when nothing of it was recorded, JOURNAL_OUTCOME when the commit itself
 * failed and nobody can know, and JOURNAL_DAMAGED; a method that finds an order of calls that cannot be right throws
 * INTERNAL.
 */
export class Journal implements Disposable {
  /** The state directory. */
  readonly dir: string;
  readonly #db: Database;
  readonly #clock: Clock;

  private constructor(dir: string, db: Database, clock: Clock) {
    this.dir = dir;
    this.#db = db;
    this.#clock = clock;
  }

  /**
   * Opens the journal in this state directory, creates or upgrades it, and checks all of it.
   * @throws FerryError JOURNAL_UNAVAILABLE, JOURNAL_UNSAFE, JOURNAL_VERSION (written by a newer blockferry),
   *   JOURNAL_DAMAGED, JOURNAL_WRITE
   */
  static open(dir: string, options: JournalOptions = {}): Journal {
    const clock = options.clock ?? systemClock;
    const directory = resolve(dir);
    const db = openDatabase(directory, options.readOnly ?? false, clock);
    records.prepareRecord(db);
    return new Journal(directory, db, clock);
  }

  [Symbol.dispose](): void {
    this.#db[Symbol.dispose]();
  }

  /** Groups the writes of a synchronous function into one commit: all of them or none. Inside another it joins that. */
  transaction<T>(task: () => T): T {
    return this.#db.write(task);
  }

  /**
   * Begins a migration, `running` and `forward`.
   * @throws FerryError MIGRATION_EXISTS when the VM has an unfinished one, SNAPSHOT_UNFINISHED while a snapshot of it is taken
   */
  addMigration(migration: rows.NewMigration): void {
    this.#db.write(() => {
      intents.refuseUnfinished(this.#db, migration.vm);
      rows.addMigration(this.#db, this.#clock.now(), migration);
    });
  }

  /** @throws FerryError NO_SUCH_MIGRATION */
  migration(id: string): rows.Migration {
    return rows.migration(this.#db, this.dir, id);
  }

  /** By the id or by the beginning of one. @throws FerryError NO_SUCH_MIGRATION, AMBIGUOUS_MIGRATION */
  findMigration(idOrPrefix: string): rows.Migration {
    return rows.findMigration(this.#db, this.dir, idOrPrefix);
  }

  /** All, or only the unfinished (`unfinished: true`) or the finished ones (`false`), the oldest first. */
  migrations(filter: { readonly unfinished?: boolean } = {}): rows.Migration[] {
    return rows.migrations(this.#db, filter.unfinished);
  }

  /**
   * Changes what is given. The states `rolling-back` and `rolled-back` need the goal `back` (before or in the same call),
   * `done` needs `forward`; the goal never changes from back to forward, nor to back while a pivot's commit record stands.
   * @throws FerryError NO_SUCH_MIGRATION; INTERNAL for a change that is not allowed (`STATE_CHANGES`)
   */
  update(id: string, change: rows.MigrationChange): void {
    rows.updateMigration(this.#db, this.dir, this.#clock.now(), id, change);
  }

  /** To be called before a step acts. Also for one that was intended before, or undone. */
  intendStep(id: string, step: string, detail?: unknown): void {
    stepLog.changeStep(this.#db, this.#clock.now(), id, step, 'intended', detail);
  }

  /** To be called when a step's effect was observed. */
  confirmStep(id: string, step: string, detail?: unknown): void {
    stepLog.changeStep(this.#db, this.#clock.now(), id, step, 'done', detail);
  }

  /** To be called before a step, intended or done, is undone. */
  undoingStep(id: string, step: string, detail?: unknown): void {
    stepLog.changeStep(this.#db, this.#clock.now(), id, step, 'undoing', detail);
  }

  /** To be called when nothing of a step is left. */
  undoneStep(id: string, step: string, detail?: unknown): void {
    stepLog.changeStep(this.#db, this.#clock.now(), id, step, 'undone', detail);
  }

  /** In the order of the first intents. */
  steps(id: string): stepLog.StepRecord[] {
    return stepLog.steps(this.#db, id);
  }

  /**
   * To be called before the thing is made. When the same thing of this migration is in the ledger and not gone, that entry
   * is the answer, whatever else is given.
   * @throws FerryError LEDGER_TAKEN when another unfinished migration has a file or socket of this name
   */
  ledgerPlan(id: string, entry: ledgers.NewLedgerEntry): ledgers.LedgerEntry {
    return ledgers.planEntry(this.#db, this.#clock.now(), id, entry);
  }

  /** To be called when the thing is there. */
  ledgerMade(entryId: number, detail?: unknown): void {
    ledgers.entryMade(this.#db, this.#clock.now(), entryId, detail);
  }

  /** To be called when the thing is not there (any more). */
  ledgerGone(entryId: number): void {
    ledgers.entryGone(this.#db, this.#clock.now(), entryId);
  }

  /** In the order in which they were planned. */
  ledger(id: string, filter: ledgers.LedgerFilter = {}): ledgers.LedgerEntry[] {
    return ledgers.ledger(this.#db, id, filter);
  }

  /**
   * To be called before the guest's I/O is held: makes the commits from here on as short as they can be, and lets them wait
   * for another process for one second at most. Dispose of the result when the guest's I/O goes on.
   */
  quiesce(): Disposable {
    const now = this.#clock.now();
    return this.#db.quiet(() =>
      this.#db.write(() =>
        this.#db.run('INSERT INTO quiet (only, at) VALUES (1, $now) ON CONFLICT (only) DO UPDATE SET at = $now', {
          now,
        }),
      ),
    );
  }

  /**
   * Writes the commit record; when this returns it is on disk and counts.
   *
   * After JOURNAL_WRITE there is no record. After JOURNAL_OUTCOME there may be one after a crash: before anything acts on its
   * absence, `voidCommitRecord` must have returned (or this must have been called again and returned: then it counts).
   * @throws FerryError INTERNAL when one stands already, or at a pivot whose migration has turned back
   */
  writeCommitRecord(id: string, kind: records.CommitKind, detail: unknown): void {
    records.writeRecord(this.#db, this.#clock.now(), id, kind, detail);
  }

  /** Writes durably that a commit record, whether it is there or not, does not count. A later one counts again. */
  voidCommitRecord(id: string, kind: records.CommitKind, reason: string): void {
    records.voidRecord(this.#db, this.#clock.now(), id, kind, reason);
  }

  /** The commit record that counts, if there is one. */
  commitRecord(id: string, kind: records.CommitKind): records.CommitRecord | undefined {
    return records.commitRecord(this.#db, id, kind);
  }

  /** Appends an event; returns its sequence number. */
  emit(id: string, type: string, payload: unknown): number {
    return eventLog.emitEvent(this.#db, this.#clock.now(), id, type, payload);
  }

  /** In the order of their sequence numbers. */
  events(filter: eventLog.EventFilter = {}): eventLog.JournalEvent[] {
    return eventLog.events(this.#db, filter);
  }

  /** Replaces how far the thing of this key is. */
  saveProgress(id: string, key: string, progress: eventLog.Progress): void {
    eventLog.saveProgress(this.#db, this.#clock.now(), id, key, progress);
  }

  /** Ordered by key. */
  progress(id: string): eventLog.ProgressRecord[] {
    return eventLog.progress(this.#db, id);
  }

  /** The snapshots that are kept for a VM, in the order in which they were taken. */
  snapshots(vm: kept.SnapshotOwner): kept.SnapshotRecord[] {
    return kept.snapshots(this.#db, vm);
  }

  /** VMs for which snapshots are kept. */
  snapshotOwners(): kept.SnapshotOwner[] {
    return kept.snapshotOwners(this.#db);
  }

  /** Replaces the snapshots of a VM by what a synchronous function makes of them; one commit. */
  changeSnapshots(
    vm: kept.SnapshotOwner,
    change: (former: readonly kept.SnapshotRecord[]) => readonly kept.SnapshotRecord[],
  ): void {
    kept.changeSnapshots(this.#db, vm, change);
  }

  /**
   * To be called before anything of a snapshot without mirrors is made.
   * @throws FerryError SNAPSHOT_UNFINISHED when another one of this VM is being taken, MIGRATION_EXISTS
   */
  addSnapshotIntent(intent: intents.NewSnapshotIntent): void {
    intents.addIntent(this.#db, this.#clock.now(), intent);
  }

  updateSnapshotIntent(id: string, plan: unknown): void {
    intents.updateIntent(this.#db, id, plan);
  }

  /** To be called with the record of what came of it, in one transaction. */
  endSnapshotIntent(id: string): void {
    intents.endIntent(this.#db, id);
  }

  /** Snapshots that are being taken, of all VMs or of one, the oldest first. */
  snapshotIntents(vm?: kept.SnapshotOwner): intents.SnapshotIntent[] {
    return intents.intents(this.#db, vm);
  }
}
