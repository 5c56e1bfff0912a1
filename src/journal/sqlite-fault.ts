import { ferryError, isFerryError, messageOf } from '../base/index.ts';

/** Where an error struck: in a look-up or while opening, in a statement that changes rows, or in the COMMIT itself. */
export type FaultPhase = 'read' | 'write' | 'commit';

/** Primary result codes (https://www.sqlite.org/rescode.html). */
const BUSY = 5;
const CORRUPT = 11;
const FULL = 13;
const CONSTRAINT = 19;
const NOTADB = 26;

/**
 * Tells an error of SQLite as one of blockferry's; anything else comes back as it is.
 *
 * A COMMIT that fails for lack of space was not recorded: its last frame is what makes it count, and that frame could
 * not be written. A COMMIT that fails otherwise (typically in fsync) may have left whole frames in the write-ahead log.
 * SQLite goes on as if they were not there and overwrites them with the next commit; but a crash before that brings them
 * back. So the outcome is unknown until something else has been committed.
 */
export function sqliteFault(error: unknown, path: string, phase: FaultPhase): unknown {
  if (isFerryError(error) || !(error instanceof Error) || !('errcode' in error)) return error;
  const extended = Number(error.errcode);
  const primary = extended & 0xff;
  const reason = messageOf(error);
  const options = { cause: error, details: { sqlite: extended, busy: primary === BUSY } };
  if (primary === CORRUPT || primary === NOTADB) return ferryError('JOURNAL_DAMAGED', { path, reason }, options);
  if (primary === CONSTRAINT) return ferryError('INTERNAL', { what: `the journal refuses a row: ${reason}` }, options);
  if (phase === 'read') return ferryError('JOURNAL_UNAVAILABLE', { path, reason }, options);
  if (phase === 'commit' && primary !== FULL) return ferryError('JOURNAL_OUTCOME', { path, reason }, options);
  return ferryError('JOURNAL_WRITE', { path, reason }, options);
}
