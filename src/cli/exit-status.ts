import { EXIT, type ExitName, type FerryError, ferryError, isFerryError, messageOf } from '../base/index.ts';
import type { Outcome } from '../migration/index.ts';
import type { CommandResult } from './terminal/renderer.ts';

/** What each exit status means, as docs/cli.md has it. */
export const EXIT_MEANING: { readonly [N in ExitName]: string } = {
  done: 'All that was asked is done.',
  failed: 'It failed for a reason that is not about a migration: a file, a monitor, a permission, a bug.',
  usage: 'The command line is wrong. Nothing was touched.',
  refused: 'The plan refuses, and says why. Nothing was touched.',
  rolledBack:
    'The migration failed or was aborted, and was rolled back: the guest goes on at the source, nothing is left over.',
  attention: 'The migration is unfinished, or a person has to do something: the message says what.',
};

/** Whatever was thrown, as an error of the registry: what is not one is a bug. */
export function asFerryError(error: unknown): FerryError {
  if (isFerryError(error)) return error;
  return ferryError('INTERNAL', { what: messageOf(error) }, { cause: error });
}

/** How a command ends when it ends with this error. */
export function errorResult(error: FerryError): CommandResult {
  return { outcome: 'error', exitStatus: error.exitStatus, message: error.message };
}

/** How driving a migration ended, by its outcome, or as its journal tells it. */
export interface Ending {
  readonly kind: Outcome['kind'];
  readonly message: string;
  readonly cause?: FerryError;
}

/**
 * How a command ends that drove a migration or followed one, and the error to report where it did not come out as asked.
 * @param wanted what the command was for: `rolled-back` for `abort`
 */
export function endingResult(
  { id, vm }: { readonly id: string; readonly vm: { readonly name: string } },
  { kind, message, cause }: Ending,
  wanted: 'done' | 'rolled-back' = 'done',
): { readonly result: CommandResult; readonly error?: FerryError } {
  const because = cause ? { cause, details: { cause: cause.toJSON() } } : {};
  if (kind === wanted) return { result: { outcome: kind, exitStatus: EXIT.done, message } };
  switch (kind) {
    case 'done': {
      const error = ferryError('TOO_LATE', { id });
      return { result: { outcome: kind, exitStatus: error.exitStatus, message }, error };
    }
    case 'left': {
      return { result: { outcome: kind, exitStatus: EXIT.attention, message } };
    }
    case 'mirrored': {
      return { result: { outcome: kind, exitStatus: EXIT.done, message } };
    }
    case 'rolled-back': {
      const error = ferryError('ROLLED_BACK', { id, vm: vm.name, reason: cause?.message ?? 'it was aborted' }, because);
      return { result: { outcome: kind, exitStatus: error.exitStatus, message }, error };
    }
    case 'attention': {
      const next = `${cause?.remedy ?? 'Mend the cause.'} Then go on with \`blockferry resume ${id}\`.`;
      const error = ferryError('NEEDS_ATTENTION', { id, vm: vm.name, reason: message, next }, because);
      return { result: { outcome: kind, exitStatus: error.exitStatus, message }, error };
    }
    default: {
      throw new Error(`no such outcome: ${String(kind satisfies never)}`);
    }
  }
}
