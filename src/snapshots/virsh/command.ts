import type { SnapshotHost } from '../snapshot-driver.ts';
import type { CommandOptions } from './option-list.ts';

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

/**
 * One of virsh's commands (`usage.ts` has its options).
 * @returns what it prints, without the newline that virsh puts after each command
 * @throws VirshError, or what the driver throws
 */
export type Command = (context: CommandContext, options: CommandOptions) => Promise<string>;
