import { ferryError } from '../base/index.ts';
import type { Database, Row } from './database.ts';
import { fromJson, toJson } from './json.ts';

export type LedgerKind = 'file' | 'node' | 'job' | 'process' | 'socket';

/** `planned`: it may exist, it was about to be made. `made`: it was. `gone`: removed, or never made after all. */
export type LedgerState = 'planned' | 'made' | 'gone';

/** Something that a migration makes on the host or in the VM, written down before it is made. */
export interface NewLedgerEntry {
  readonly kind: LedgerKind;
  /** What to find it by: path, node name, job id, pid with start time. */
  readonly name: string;
  /** What it is for. */
  readonly role: string;
  /** The disk that it belongs to, if it belongs to one. */
  readonly disk?: string;
  readonly detail?: unknown;
}

export interface LedgerEntry extends NewLedgerEntry {
  readonly id: number;
  readonly migration: string;
  readonly state: LedgerState;
  readonly detail: unknown;
  readonly createdAt: number;
  readonly updatedAt: number;
}

export interface LedgerFilter {
  readonly kind?: LedgerKind;
  readonly states?: readonly LedgerState[];
}

function entryOf(row: Row): LedgerEntry {
  return {
    id: Number(row['id']),
    migration: String(row['migration']),
    kind: row['kind'] as LedgerKind,
    name: String(row['name']),
    role: String(row['role']),
    ...(row['disk'] === null ? {} : { disk: String(row['disk']) }),
    state: row['state'] as LedgerState,
    detail: fromJson(row['detail']),
    createdAt: Number(row['created_at']),
    updatedAt: Number(row['updated_at']),
  };
}

/** @throws FerryError LEDGER_TAKEN */
export function planEntry(db: Database, now: number, id: string, entry: NewLedgerEntry): LedgerEntry {
  return db.write(() => {
    const { kind, name } = entry;
    const live = db.get(
      "SELECT * FROM ledger WHERE migration = $id AND kind = $kind AND name = $name AND state <> 'gone'",
      { id, kind, name },
    );
    if (live) return entryOf(live);
    if (kind === 'file' || kind === 'socket') refuseTaken(db, id, kind, name);
    const row = db.run(
      `INSERT INTO ledger (migration, kind, name, role, disk, state, detail, created_at, updated_at)
       VALUES ($id, $kind, $name, $role, $disk, 'planned', $detail, $now, $now)`,
      { id, kind, name, role: entry.role, disk: entry.disk ?? null, detail: toJson(entry.detail), now },
    );
    return one(db, row);
  });
}

/**
 * Paths belong to the host, not to a VM: without this, of two migrations that plan the same file, the one that finds it
 * existing would roll back and remove the other's.
 */
function refuseTaken(db: Database, id: string, kind: LedgerKind, name: string): void {
  const other = db.get(
    `SELECT migration FROM ledger JOIN migrations ON migrations.id = ledger.migration
     WHERE name = $name AND kind = $kind AND ledger.state <> 'gone' AND migration <> $id AND finished_at IS NULL LIMIT 1`,
    { id, kind, name },
  );
  if (other) throw ferryError('LEDGER_TAKEN', { kind, name, other: String(other['migration']) });
}

function one(db: Database, entryId: number): LedgerEntry {
  const row = db.get('SELECT * FROM ledger WHERE id = $entryId', { entryId });
  if (!row) throw ferryError('INTERNAL', { what: `no ledger entry ${entryId}` });
  return entryOf(row);
}

/** A detail replaces the one before, none leaves it. @throws FerryError INTERNAL when it is gone */
export function entryMade(db: Database, now: number, entryId: number, detail: unknown): void {
  db.write(() => {
    const entry = one(db, entryId);
    if (entry.state === 'gone') {
      throw ferryError('INTERNAL', { what: `the ${entry.kind} '${entry.name}' cannot be made: its entry is gone` });
    }
    db.run("UPDATE ledger SET state = 'made', detail = $detail, updated_at = $now WHERE id = $entryId", {
      entryId,
      detail: toJson(detail === undefined ? entry.detail : detail),
      now,
    });
  });
}

/** Saying it twice is right: who recovers removes again. */
export function entryGone(db: Database, now: number, entryId: number): void {
  db.write(() => {
    if (one(db, entryId).state === 'gone') return;
    db.run("UPDATE ledger SET state = 'gone', updated_at = $now WHERE id = $entryId", { entryId, now });
  });
}

/** In the order in which they were planned. */
export function ledger(db: Database, id: string, filter: LedgerFilter): LedgerEntry[] {
  return db
    .all('SELECT * FROM ledger WHERE migration = $id ORDER BY id', { id })
    .map(entryOf)
    .filter(({ kind, state }) => (filter.kind ?? kind) === kind && (filter.states?.includes(state) ?? true));
}
