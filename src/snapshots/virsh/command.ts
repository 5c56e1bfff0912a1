import type { SnapshotHost } from '../snapshot-driver.ts';
import type { CommandOptions, OptionDefinition } from './option-list.ts';

/** What a command works with. */
export interface CommandContext {
  readonly host: SnapshotHost;
  readonly cwd: string;
  /**
   * Lets a person edit a text.
   * @throws when the editor failed
   */
  edit(text: string): Promise<string>;
}

/** One of virsh's commands. */
export interface Command {
  readonly name: string;
  readonly summary: string;
  /** In the order in which arguments that stand alone fill them. */
  readonly options: readonly OptionDefinition[];
  /**
   * @returns what it prints, without the newline that virsh puts after each command
   * @throws VirshError, or what the driver throws
   */
  run(context: CommandContext, options: CommandOptions): Promise<string>;
}
