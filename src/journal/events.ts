import type { Database } from './database.ts';
import { fromJson, toJson } from './json.ts';

export interface JournalEvent {
  /** Grows over all migrations; never given twice. */
  readonly seq: number;
  readonly migration: string;
  readonly type: string;
  readonly payload: unknown;
  /** Milliseconds since 1970. */
  readonly at: number;
}

export interface EventFilter {
  readonly migration?: string;
  /** Only events after this sequence number. */
  readonly after?: number;
  /** At most so many, the oldest first. */
  readonly limit?: number;
}

export function emitEvent(db: Database, now: number, id: string, type: string, payload: unknown): number {
  return db.write(() =>
    db.run('INSERT INTO events (migration, type, payload, at) VALUES ($id, $type, $payload, $now)', {
      id,
      type,
      payload: toJson(payload),
      now,
    }),
  );
}

export function events(db: Database, { migration, after = 0, limit = -1 }: EventFilter): JournalEvent[] {
  const which = migration === undefined ? '' : 'migration = $migration AND';
  const rows = db.all(`SELECT * FROM events WHERE ${which} seq > $after ORDER BY seq LIMIT $limit`, {
    ...(migration === undefined ? {} : { migration }),
    after,
    limit,
  });
  return rows.map((row) => ({
    seq: Number(row['seq']),
    migration: String(row['migration']),
    type: String(row['type']),
    payload: fromJson(row['payload']),
    at: Number(row['at']),
  }));
}

/** How far one thing is (a disk, an image), for who looks on from another process. */
export interface Progress {
  /** Bytes. */
  readonly done: number;
  readonly total: number;
  /** Bytes per second. */
  readonly rate?: number;
  readonly phase?: string;
}

export interface ProgressRecord extends Progress {
  readonly key: string;
  /** Milliseconds since 1970. */
  readonly at: number;
}

export function saveProgress(db: Database, now: number, id: string, key: string, progress: Progress): void {
  const { done, total, rate = null, phase = null } = progress;
  db.write(() =>
    db.run(
      `INSERT INTO progress (migration, key, done, total, rate, phase, at)
       VALUES ($id, $key, $done, $total, $rate, $phase, $now)
       ON CONFLICT (migration, key) DO UPDATE
         SET done = $done, total = $total, rate = $rate, phase = $phase, at = $now`,
      { id, key, done: Math.round(done), total: Math.round(total), rate, phase, now },
    ),
  );
}

/** Ordered by key. */
export function progress(db: Database, id: string): ProgressRecord[] {
  return db.all('SELECT * FROM progress WHERE migration = $id ORDER BY key', { id }).map((row) => ({
    key: String(row['key']),
    done: Number(row['done']),
    total: Number(row['total']),
    ...(row['rate'] === null ? {} : { rate: Number(row['rate']) }),
    ...(row['phase'] === null ? {} : { phase: String(row['phase']) }),
    at: Number(row['at']),
  }));
}
