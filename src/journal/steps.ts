import { ferryError } from '../base/index.ts';
import type { Database } from './database.ts';
import { fromJson, toJson } from './json.ts';

/** `intended` and `undoing` are written before the act: after a crash, the act may or may not have happened. */
export type StepState = 'intended' | 'done' | 'undoing' | 'undone';

export interface StepRecord {
  readonly step: string;
  readonly state: StepState;
  /** When it came to this state, in milliseconds since 1970. */
  readonly at: number;
  readonly detail: unknown;
}

/**
 * To each state, the states that a step may come from; `none` is a step without a row. Who recovers intends or undoes
 * again what was under way, and what was undone may be tried anew.
 */
export const STEP_CHANGES: { readonly [S in StepState]: readonly (StepState | 'none')[] } = {
  intended: ['none', 'intended', 'undone'],
  done: ['intended'],
  undoing: ['intended', 'done', 'undoing'],
  undone: ['undoing'],
};

/** Moves a step on; a detail replaces the one before, none leaves it. @throws FerryError INTERNAL */
export function changeStep(
  db: Database,
  now: number,
  id: string,
  step: string,
  state: StepState,
  detail: unknown,
): void {
  db.write(() => {
    const row = db.get('SELECT state FROM steps WHERE migration = $id AND step = $step', { id, step });
    const from = (row?.['state'] ?? 'none') as StepState | 'none';
    if (!STEP_CHANGES[state].includes(from)) {
      throw ferryError('INTERNAL', { what: `step ${step} of migration ${id} cannot go from ${from} to ${state}` });
    }
    db.run(
      `INSERT INTO steps (migration, step, state, at, detail) VALUES ($id, $step, $state, $now, $detail)
       ON CONFLICT (migration, step) DO UPDATE SET state = $state, at = $now,
         detail = CASE WHEN $given THEN $detail ELSE detail END`,
      { id, step, state, now, detail: toJson(detail), given: Number(detail !== undefined) },
    );
  });
}

/** In the order of the first intents. */
export function steps(db: Database, id: string): StepRecord[] {
  return db.all('SELECT * FROM steps WHERE migration = $id ORDER BY seq', { id }).map((row) => ({
    step: String(row['step']),
    state: row['state'] as StepState,
    at: Number(row['at']),
    detail: fromJson(row['detail']),
  }));
}
