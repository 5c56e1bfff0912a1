/**
 * JSON whose integers are exact. QEMU's integers have 64 bits; a JavaScript number holds 53. An integer that a number
 * cannot hold exactly is read as a bigint, all others as numbers, and a bigint is written as the digits it has.
 */
import { ferryError } from '../base/index.ts';

/** The third argument of a `JSON.parse` reviver: the source text of a primitive value. Not in TypeScript's lib yet. */
interface ReviverContext {
  readonly source?: string;
}

/** `JSON.rawJSON` makes a value whose text `JSON.stringify` copies. Not in TypeScript's lib yet. */
const exactJson = JSON as typeof JSON & { rawJSON(text: string): object };

const INTEGER = /^-?\d+$/;

function revive(_key: string, value: unknown, context?: ReviverContext): unknown {
  if (typeof value !== 'number' || Number.isSafeInteger(value)) return value;
  const source = context?.source;
  return source !== undefined && INTEGER.test(source) ? BigInt(source) : value;
}

/**
 * Reads JSON text. Integers beyond 2^53 become bigints.
 * @throws SyntaxError when the text is not JSON
 */
export function parseExactJson(text: string): unknown {
  // A reviver costs a call for each value, and only a run of 16 digits can be an integer beyond 2^53.
  if (!/\d{16}/.test(text)) return JSON.parse(text) as unknown;
  return JSON.parse(text, revive) as unknown;
}

/**
 * Writes JSON on one line, in ASCII or UTF-8 that QEMU's parser accepts. Members that are undefined are left out.
 * @throws FerryError QMP_ARGUMENT for what JSON or QEMU cannot hold: NaN, an infinity, a lone surrogate, a NUL.
 *   QEMU would answer those with an error that names no command, which ends the session.
 */
export function formatExactJson(value: unknown): string {
  return JSON.stringify(value, (key, member: unknown) => {
    if (typeof member === 'bigint') return exactJson.rawJSON(member.toString());
    if (typeof member === 'number' && !Number.isFinite(member)) {
      throw ferryError('QMP_ARGUMENT', { name: key, why: `${member} is not a JSON number` });
    }
    if (typeof member === 'string' && (!member.isWellFormed() || member.includes('\0'))) {
      throw ferryError('QMP_ARGUMENT', { name: key, why: 'QEMU takes only Unicode text without NUL characters' });
    }
    return member;
  });
}
