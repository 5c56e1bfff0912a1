/**
 * Every error that blockferry reports, in one place: what happened, what the user can do, and with which status the
 * command line ends. `docs/errors.md` documents each one, and a test fails when the two differ in either direction.
 *
 * Message templates name their fields in braces; `FerryError` requires them by type.
 */

/** Exit statuses of the command line. They are documented in docs/cli.md and never change their meaning. */
export const EXIT = {
  /** All that was asked is done. */
  done: 0,
  /** Something is broken that is not about this migration: no such file, a bug, a lost terminal. */
  failed: 1,
  /** The command line itself is wrong. Nothing was touched. */
  usage: 2,
  /** The plan refuses: nothing was touched. */
  refused: 3,
  /** The migration failed or was aborted and was rolled back: the guest goes on at the source, nothing is left over. */
  rolledBack: 4,
  /** The migration is unfinished or something remains to be done by a person: read the message. */
  attention: 5,
} as const;

export type ExitName = keyof typeof EXIT;

export interface Entry {
  /** What happened, with `{field}` for each detail. */
  readonly message: string;
  /** What the user can do next. May use the same fields. */
  readonly remedy: string;
  readonly exit: ExitName;
}

export const ERRORS = {
  // ---- base ---------------------------------------------------------------------------------------------------
  INTERNAL: {
    message: 'blockferry has a bug: {what}',
    remedy: 'Report it with the output of `blockferry status --json`. What was intended and done is in the journal.',
    exit: 'failed',
  },
  ABORTED: {
    message: '{what} was aborted',
    remedy: 'Nothing; it was asked for.',
    exit: 'failed',
  },
  BAD_SIZE: {
    message: "'{text}' is not a size or a rate",
    remedy: 'Write a number with an optional unit: 512, 64k, 100M, 2GiB (k, M, G, T are powers of 1024).',
    exit: 'usage',
  },
  TOOL_MISSING: {
    message: "the program '{program}' cannot be started: {reason}",
    remedy: 'Install the package that has it (Debian: qemu-utils for qemu-img and qemu-storage-daemon).',
    exit: 'failed',
  },
  TOOL_FAILED: {
    message: '{program} failed ({outcome}): {stderr}',
    remedy: 'The message of the program says why. The exact command is in the details (`--json`).',
    exit: 'failed',
  },
} as const;

export type ErrorCode = keyof typeof ERRORS;

/** Every entry has this shape; the assignment is checked by the compiler. */
export const ERROR_ENTRIES: { readonly [C in ErrorCode]: Entry } = ERRORS;

type FieldsOf<S extends string> = S extends `${string}{${infer Field}}${infer Rest}` ? Field | FieldsOf<Rest> : never;

/** The details that an error needs: one for each `{field}` in its message and its remedy. */
export type ErrorFields<C extends ErrorCode> = {
  readonly [K in FieldsOf<(typeof ERRORS)[C]['message']> | FieldsOf<(typeof ERRORS)[C]['remedy']>]: string | number;
};
