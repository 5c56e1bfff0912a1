import { ferryError } from '../base/index.ts';
import type { Database } from './database.ts';
import { fromJson, toJson } from './json.ts';

/**
 * `pivot`: from here on the target is the truth. `fold`: from here on the image below the target's overlay is.
 * `fold-back`: the same of the source's overlay, in a rollback.
 */
export type CommitKind = 'pivot' | 'fold' | 'fold-back';

export interface CommitRecord {
  readonly kind: CommitKind;
  readonly detail: unknown;
  /** Milliseconds since 1970. */
  readonly at: number;
}

const LAST = `SELECT seq, verdict, detail, at FROM commit_records WHERE migration = $id AND kind = $kind
  ORDER BY seq DESC LIMIT 1`;
const GOAL = 'SELECT goal FROM migrations WHERE id = $id';
const APPEND = `INSERT INTO commit_records (migration, kind, seq, verdict, detail, at)
  VALUES ($id, $kind, $seq, $verdict, $detail, $now)`;

/** Compiles what `writeRecord` runs. */
export function prepareRecord(db: Database): void {
  for (const sql of [LAST, GOAL, APPEND, 'BEGIN IMMEDIATE', 'COMMIT']) db.prepare(sql);
}

/** @throws FerryError INTERNAL when one stands, or when the migration has turned back */
export function writeRecord(db: Database, now: number, id: string, kind: CommitKind, detail: unknown): void {
  const text = toJson(detail);
  db.write(() => {
    const last = db.get(LAST, { id, kind });
    if (last?.['verdict'] === 'commit') throw ferryError('INTERNAL', { what: `a second ${kind} record of ${id}` });
    if (kind === 'pivot' && db.get(GOAL, { id })?.['goal'] !== 'forward') {
      throw ferryError('INTERNAL', { what: `a ${kind} record of ${id}, which goes back` });
    }
    db.run(APPEND, { id, kind, seq: Number(last?.['seq'] ?? 0) + 1, verdict: 'commit', detail: text, now });
  });
}

export function voidRecord(db: Database, now: number, id: string, kind: CommitKind, reason: string): void {
  db.write(() => {
    const last = db.get(LAST, { id, kind });
    db.run(APPEND, { id, kind, seq: Number(last?.['seq'] ?? 0) + 1, verdict: 'void', detail: toJson(reason), now });
  });
}

/** The record that counts: the last one, unless it is void. */
export function commitRecord(db: Database, id: string, kind: CommitKind): CommitRecord | undefined {
  const last = db.get(LAST, { id, kind });
  if (last?.['verdict'] !== 'commit') return undefined;
  return { kind, detail: fromJson(last['detail']), at: Number(last['at']) };
}
