import type { CommandContext } from './command.ts';
import { SNAPSHOT_COMMANDS } from './commands.ts';
import { type CommandOptions, readOptions } from './option-list.ts';
import { SNAPSHOT_USAGE } from './usage.ts';
import { errorLinesOf, VirshError } from './virsh-error.ts';

/** What a command came to: the texts are what virsh would write, to the byte. */
export interface CommandOutcome {
  readonly stdout: string;
  readonly stderr: string;
  readonly exitStatus: 0 | 1;
  /** What was thrown, where it failed. */
  readonly error?: unknown;
}

function failure(error: unknown, stdout: string): CommandOutcome {
  return {
    stdout,
    stderr: errorLinesOf(error)
      .map((line) => `error: ${line}\n`)
      .join(''),
    exitStatus: 1,
    error,
  };
}

/**
 * Runs one of virsh's commands about snapshots. After each virsh writes a newline, also after one that failed, but not
 * after one that it could not read.
 * @param argv the command and its arguments
 */
export async function runSnapshotCommand(context: CommandContext, argv: readonly string[]): Promise<CommandOutcome> {
  const [name = '', ...args] = argv;
  const usage = SNAPSHOT_USAGE.find((each) => each.name === name);
  const command = SNAPSHOT_COMMANDS[name];
  if (usage === undefined || command === undefined) return failure(new VirshError(`unknown command: '${name}'`), '');
  let options: CommandOptions;
  try {
    options = readOptions(name, usage.options, args);
  } catch (error) {
    return failure(error, '');
  }
  try {
    return { stdout: `${await command(context, options)}\n`, stderr: '', exitStatus: 0 };
  } catch (error) {
    return failure(error, '\n');
  }
}
