import { parseArgs, type ParseArgsOptionsConfig } from 'node:util';
import { messageOf } from '../src/base/index.ts';

/** The options that a program of the lab was called with. */
export interface ProgramOptions<Options extends ParseArgsOptionsConfig> {
  readonly values: ReturnType<typeof parseArgs<{ options: Options }>>['values'];
  /** What is none. */
  readonly positionals: readonly string[];
  /** The value of an option as a whole number from `least` on; the program ends with status 2 when it is none. */
  readonly number: (name: keyof Options & string, least?: number) => number;
  /** The same of an option with several, separated by commas; undefined where it was not given. */
  readonly numbers: (name: keyof Options & string, least: number, most: number) => [number, ...number[]] | undefined;
}

/** Ends the program with status 2, and says why. */
export function refuseOption(why: string): never {
  process.stderr.write(`${why}; --help shows the options\n`);
  process.exit(2);
}

function wholeNumber(name: string, text: string, least: number, most: number): number {
  const value = Number(text);
  const range = most === Number.MAX_SAFE_INTEGER ? `from ${least} on` : `from ${least} to ${most}`;
  const fits = /^\d+$/.test(text) && value >= least && value <= most;
  return fits ? value : refuseOption(`--${name}: ${JSON.stringify(text)} is no whole number ${range}`);
}

/**
 * Reads this process's arguments. With --help the usage is printed and the program ends well; with what it does not know it ends
 * with status 2 and says why, so that a mistyped number of trials does not pass for none that failed.
 */
export function programOptions<const Options extends ParseArgsOptionsConfig>(
  usage: string,
  options: Options,
  { allowPositionals = false }: { readonly allowPositionals?: boolean } = {},
): ProgramOptions<Options> {
  if (process.argv.slice(2).includes('--help')) {
    process.stdout.write(`${usage.trim()}\n`);
    process.exit(0);
  }
  const { values, positionals } = ((): Pick<ProgramOptions<Options>, 'values' | 'positionals'> => {
    try {
      return parseArgs({ options, allowPositionals });
    } catch (error) {
      return refuseOption(messageOf(error));
    }
  })();
  const texts = values as Readonly<Record<string, unknown>>;
  return {
    values,
    positionals,
    number: (name, least = 1) => wholeNumber(name, String(texts[name]), least, Number.MAX_SAFE_INTEGER),
    numbers: (name, least, most) => {
      const given = texts[name];
      if (typeof given !== 'string') return undefined;
      return given.split(',').map((text) => wholeNumber(name, text, least, most)) as [number, ...number[]];
    },
  };
}
