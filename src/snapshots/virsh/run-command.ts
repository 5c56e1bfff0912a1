import type { Command, CommandContext } from './command.ts';
import { SNAPSHOT_COMMANDS } from './commands.ts';
import { readOptions } from './option-list.ts';
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
  let command: Command | undefined;
  let options;
  try {
    command = SNAPSHOT_COMMANDS.find((each) => each.name === name);
    if (command === undefined) throw new VirshError(`unknown command: '${name}'`);
    options = readOptions(name, command.options, args);
  } catch (error) {
    return failure(error, '');
  }
  try {
    return { stdout: `${await command.run(context, options)}\n`, stderr: '', exitStatus: 0 };
  } catch (error) {
    return failure(error, '\n');
  }
}
