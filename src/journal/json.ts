import { ferryError, messageOf } from '../base/index.ts';

/** The JSON text of a value; `undefined` becomes null. */
export function toJson(value: unknown): string {
  try {
    return JSON.stringify(value) ?? 'null';
  } catch (error) {
    throw ferryError('INTERNAL', { what: `a value is not JSON: ${messageOf(error)}` }, { cause: error });
  }
}

/** The value of a JSON column. */
export function fromJson(text: unknown): unknown {
  return JSON.parse(String(text));
}
