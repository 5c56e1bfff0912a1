import { ERRORS, EXIT, type ErrorCode, type ErrorFields } from './error-registry.ts';

function fill(template: string, fields: Readonly<Record<string, unknown>>): string {
  return template.replaceAll(/\{(\w+)\}/g, (_, field: string) => String(fields[field]));
}

export interface FerryErrorOptions {
  readonly cause?: unknown;
  /** Whatever helps a program or a bug report and is too long for the message: argv, replies, paths. */
  readonly details?: Readonly<Record<string, unknown>>;
}

/** An error that blockferry reports: a code of the registry, its filled-in message, and what to do next. */
export class FerryError extends Error {
  readonly code: ErrorCode;
  /** The fields that the message was made of. */
  readonly fields: Readonly<Record<string, string | number>>;
  readonly details: Readonly<Record<string, unknown>>;

  constructor(code: ErrorCode, fields: Readonly<Record<string, string | number>>, options: FerryErrorOptions = {}) {
    super(fill(ERRORS[code].message, fields), { cause: options.cause });
    this.name = 'FerryError';
    this.code = code;
    this.fields = fields;
    this.details = options.details ?? {};
  }

  /** What the user can do next. */
  get remedy(): string {
    return fill(ERRORS[this.code].remedy, this.fields);
  }

  /** The exit status of a command that ends with this error. */
  get exitStatus(): number {
    return EXIT[ERRORS[this.code].exit];
  }

  toJSON(): object {
    return { code: this.code, message: this.message, remedy: this.remedy, fields: this.fields, details: this.details };
  }
}

/** Makes an error; the compiler checks that every field of the message is given. */
export function ferryError<C extends ErrorCode>(
  code: C,
  fields: ErrorFields<C>,
  options: FerryErrorOptions = {},
): FerryError {
  return new FerryError(code, fields, options);
}

/** Whether this is a `FerryError`, with one of these codes where any is given. */
export function isFerryError(error: unknown, ...codes: readonly ErrorCode[]): error is FerryError {
  return error instanceof FerryError && (codes.length === 0 || codes.includes(error.code));
}

/** What to say of anything that was thrown. */
export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

/** The `code` of a Node system error (`ENOENT`, `EACCES`, …), or undefined. */
export function errnoOf(error: unknown): string | undefined {
  if (!(error instanceof Error) || !('code' in error)) return undefined;
  return typeof error.code === 'string' ? error.code : undefined;
}

/** For a `catch`: a file that is not there is undefined. @throws any other error */
export function ignoreMissing(error: unknown): undefined {
  if (errnoOf(error) !== 'ENOENT') throw error;
  return undefined;
}

/** Whether an error of `/proc` says that the process, its thread or its descriptor went away while it was looked at. */
export function isGone(error: unknown): boolean {
  return ['ENOENT', 'ESRCH'].includes(errnoOf(error) ?? '');
}
