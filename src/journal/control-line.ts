import type { Socket } from 'node:net';
import { ERROR_ENTRIES, type ErrorCode, FerryError, ferryError, isFerryError, messageOf } from '../base/index.ts';
import { toJson } from './json.ts';

/** What an owner can be asked for: `abort`, `pause`, `set-speed`, … with whatever belongs to it, as JSON. */
export interface ControlRequest {
  readonly command: string;
  readonly [field: string]: unknown;
}

/** One line from the asker: who are you, or do this. */
export type Question = { readonly ask: 'pid' } | { readonly ask: 'request'; readonly request: ControlRequest };

/** One line back. */
export type Answer =
  | { readonly pid: number; readonly value: unknown }
  | { readonly pid: number; readonly error: ErrorLine };

interface ErrorLine {
  readonly code: string;
  readonly message: string;
  readonly fields: Readonly<Record<string, string | number>>;
  readonly details: Readonly<Record<string, unknown>>;
}

/** The longest line, in UTF-16 units. */
const MAX_LINE = 2 ** 24;

/** The first line that comes, as JSON; undefined when the connection ends before, or the line is too long or not JSON. */
export function receive(socket: Socket): Promise<unknown> {
  return new Promise((resolve) => {
    let text = '';
    socket.setEncoding('utf8');
    socket.on('data', (piece: string) => {
      text += piece;
      const end = text.indexOf('\n');
      if (end >= 0) resolve(parse(text.slice(0, end)));
      else if (text.length > MAX_LINE) socket.destroy();
    });
    socket.on('error', () => undefined).once('close', () => resolve(undefined));
  });
}

function parse(line: string): unknown {
  try {
    return JSON.parse(line) as unknown;
  } catch {
    return undefined;
  }
}

/** A question as a line. @throws FerryError INTERNAL when it is not JSON */
export function questionLine(question: Question): string {
  return `${toJson(question)}\n`;
}

/** What a task returns or throws, as a line. */
export async function answerLine(task: () => Promise<unknown>): Promise<string> {
  try {
    return lineOf({ pid: process.pid, value: (await task()) ?? null });
  } catch (error) {
    const told = isFerryError(error) ? error : ferryError('INTERNAL', { what: messageOf(error) }, { cause: error });
    const { code, message, fields, details } = told;
    try {
      return lineOf({ pid: process.pid, error: { code, message, fields, details } });
    } catch {
      return lineOf({ pid: process.pid, error: { code, message, fields, details: {} } });
    }
  }
}

function lineOf(answer: Answer): string {
  return `${toJson(answer)}\n`;
}

/** The error that came over the socket: the same code and message. A code that only the owner's version knows is INTERNAL. */
export function errorOf(line: ErrorLine): FerryError {
  if (!Object.hasOwn(ERROR_ENTRIES, line.code))
    return ferryError('INTERNAL', { what: `${line.code}: ${line.message}` });
  return new FerryError(line.code as ErrorCode, line.fields, { details: line.details });
}
