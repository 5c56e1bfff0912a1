import { CommanderError } from '@commander-js/extra-typings';
import { EXIT } from '../base/error-registry.ts';
import type { Action, GlobalOptions, Surroundings } from './cli.ts';
import { buildProgram } from './program.ts';
import { version } from './version.ts';

/**
 * Runs one command line.
 * @param args what follows the program's name
 * @returns the exit status
 */
export async function runCli(args: readonly string[], surroundings: Surroundings): Promise<number> {
  let status: number = EXIT.done;
  const program = buildProgram(async (options, load) => {
    status = await execute(options, surroundings, load);
  }, version());
  program.configureOutput({
    writeOut: (text) => void surroundings.stdout.write(text),
    writeErr: (text) => void surroundings.stderr.write(text),
  });
  try {
    await program.parseAsync(args, { from: 'user' });
    return status;
  } catch (error) {
    // Help that was asked for, and the version, end this way too.
    if (error instanceof CommanderError && error.exitCode === 0) return EXIT.done;
    // Help in place of a command that is missing: commander has printed it.
    if (error instanceof CommanderError && error.code === 'commander.help') return EXIT.usage;
    return await usageError(error, args, surroundings);
  }
}

async function execute(
  options: GlobalOptions,
  surroundings: Surroundings,
  load: () => Promise<Action>,
): Promise<number> {
  const { Cli } = await import('./cli.ts');
  const cli = new Cli(options, surroundings);
  try {
    const action = await load();
    const result = await action(cli);
    cli.renderer.result(result);
    return result.exitStatus;
  } catch (error) {
    const { asFerryError, errorResult } = await import('./exit-status.ts');
    const failure = asFerryError(error);
    cli.renderer.error(failure, cli);
    cli.renderer.result(errorResult(failure));
    return failure.exitStatus;
  }
}

/** The command line itself is wrong, so its options are not known. */
async function usageError(error: unknown, args: readonly string[], surroundings: Surroundings): Promise<number> {
  const { ferryError } = await import('../base/index.ts');
  const failure =
    error instanceof CommanderError
      ? ferryError('USAGE', { what: error.message.replace(/^error: /, '') }, { cause: error })
      : error;
  const options = {
    json: args.includes('--json'),
    color: !args.includes('--no-color'),
    debug: args.includes('--debug'),
  };
  return await execute(options, surroundings, () => Promise.reject(failure));
}
