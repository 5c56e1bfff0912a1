import { VirshError } from './virsh-error.ts';

/**
 * One option of a command, as in virsh's tables: `flag` takes no value, `text` one, `required` is a `text` that must be
 * there, `list` takes what is left over and may be repeated.
 */
export interface OptionDefinition {
  readonly name: string;
  readonly type: 'flag' | 'text' | 'required' | 'list';
  /** What it means, for the help. */
  readonly help: string;
  /** It is never filled from arguments that stand alone: only `--name VALUE` will do. */
  readonly onlyNamed?: boolean;
}

/** The options of one command line. Reading an empty text is an error, as in virsh; `list` may hold empty ones. */
export class CommandOptions {
  readonly #values: ReadonlyMap<string, readonly string[]>;

  constructor(values: ReadonlyMap<string, readonly string[]>) {
    this.#values = values;
  }

  /** Whether it was given at all. */
  has(name: string): boolean {
    return this.#values.has(name);
  }

  /** @throws VirshError it was given, and is empty */
  text(name: string): string | undefined {
    const value = this.#values.get(name)?.[0];
    if (value === '') throw new VirshError(`Failed to get option '${name}': Option argument is empty`);
    return value;
  }

  /** @throws VirshError it is empty */
  required(name: string): string {
    const value = this.text(name);
    if (value === undefined) throw new VirshError(`Failed to get option '${name}': Required option not present`);
    return value;
  }

  list(name: string): readonly string[] {
    return this.#values.get(name) ?? [];
  }

  /** @throws VirshError both were given */
  exclude(first: string, second: string): void {
    if (this.has(first) && this.has(second)) {
      throw new VirshError(`Options --${first} and --${second} are mutually exclusive`);
    }
  }
}

/** One pass over a command line. */
class Reader {
  readonly values = new Map<string, string[]>();
  readonly #command: string;
  readonly #definitions: readonly OptionDefinition[];

  constructor(command: string, definitions: readonly OptionDefinition[]) {
    this.#command = command;
    this.#definitions = definitions;
  }

  named(name: string): OptionDefinition {
    const found = this.#definitions.find((each) => each.name === name);
    if (found === undefined) throw new VirshError(`command '${this.#command}' doesn't support option --${name}`);
    if (this.values.has(name) && found.type !== 'list') throw new VirshError(`option --${name} already seen`);
    return found;
  }

  /** The first option that takes a value and has none yet. */
  standing(value: string): OptionDefinition {
    const found = this.#definitions.find(
      ({ name, type, onlyNamed }) => type !== 'flag' && !onlyNamed && (type === 'list' || !this.values.has(name)),
    );
    if (found === undefined) throw new VirshError(`unexpected data '${value}'`);
    return found;
  }

  add({ name }: OptionDefinition, ...value: readonly string[]): void {
    this.values.set(name, [...(this.values.get(name) ?? []), ...value]);
  }

  checkRequired(): void {
    const missing = this.#definitions.filter(({ name, type }) => type === 'required' && !this.values.has(name));
    if (missing.length === 0) return;
    throw new VirshError(...missing.map(({ name }) => `command '${this.#command}' requires <${name}> option`));
  }
}

/**
 * Reads the arguments of a command as virsh does: `--option value` or `--option=value`; what stands alone fills the
 * options that take values, in their order; after `--` nothing is an option any more.
 * @throws VirshError
 */
export function readOptions(
  command: string,
  definitions: readonly OptionDefinition[],
  args: readonly string[],
): CommandOptions {
  const reader = new Reader(command, definitions);
  const rest = [...args];
  let onlyData = false;
  for (let word = rest.shift(); word !== undefined; word = rest.shift()) {
    if (word === '--' && !onlyData) {
      onlyData = true;
      continue;
    }
    const named = onlyData ? undefined : /^--([a-zA-Z0-9][^=]*)(?:=([^]*))?$/.exec(word);
    if (!named) {
      reader.add(reader.standing(word), word);
      continue;
    }
    const [, name = '', joined] = named;
    const definition = reader.named(name);
    if (definition.type === 'flag') {
      if (joined !== undefined) throw new VirshError(`invalid '=' after option --${name}`);
      reader.add(definition);
      continue;
    }
    const value = joined ?? rest.shift();
    if (value === undefined) throw new VirshError(`expected syntax: --${name} <string>`);
    reader.add(definition, value);
  }
  reader.checkRequired();
  return new CommandOptions(reader.values);
}
