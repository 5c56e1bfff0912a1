import type { FerryError } from '../../base/index.ts';
import type { MigrationEvent, MigrationPlan, ProgressReport } from '../../migration/index.ts';

/** How a command ended. */
export interface CommandResult {
  /** `done`, `rolled-back`, `attention`, `left` as a migration's outcome; `planned`, `asked`, `declined`; `error`. */
  readonly outcome: string;
  readonly exitStatus: number;
  readonly message: string;
}

/**
 * Shows what a command does. One for people, one for programs; both get the same events in the same order, so that
 * neither can know what the other does not.
 */
export interface Renderer {
  plan(plan: MigrationPlan): void;
  /** From here on events and progress of this migration come. */
  begin(plan: MigrationPlan): void;
  event(event: MigrationEvent): void;
  progress(report: ProgressReport): void;
  /** Something that the command itself says. */
  note(text: string): void;
  /** A question that stands below everything until it is taken away. */
  question(text: string | undefined): void;
  /** An error: what happened, and what to do. */
  error(error: FerryError, options: { readonly debug: boolean }): void;
  /** The last thing of all. */
  result(result: CommandResult): void;
}
