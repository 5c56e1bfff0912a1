import type { ReadStream } from 'node:tty';
import type { Writable } from 'node:stream';
import type { Clock } from '../base/index.ts';
import { JsonRenderer } from './terminal/json-renderer.ts';
import type { Terminal } from './terminal/live-area.ts';
import type { CommandResult, Renderer } from './terminal/renderer.ts';
import { paint, type Paint } from './terminal/text.ts';
import { TextRenderer } from './terminal/text-renderer.ts';

/** The options that every command takes. */
export interface GlobalOptions {
  readonly stateDir?: string;
  readonly json?: boolean;
  /** False with --no-color. */
  readonly color: boolean;
  readonly debug?: boolean;
}

/** What the process gives: streams, environment, time. */
export interface Surroundings {
  readonly stdin: ReadStream;
  readonly stdout: Terminal & { readonly isTTY?: boolean };
  readonly stderr: Writable;
  readonly env: NodeJS.ProcessEnv;
  readonly cwd: string;
  readonly clock: Clock;
}

/** Everything that a command works with. */
export class Cli {
  readonly surroundings: Surroundings;
  readonly options: GlobalOptions;
  /** A person sits there: standard input and output are terminals, and the output is for people. */
  readonly interactive: boolean;
  readonly color: boolean;
  readonly renderer: Renderer;
  readonly #json: JsonRenderer | undefined;

  constructor(options: GlobalOptions, surroundings: Surroundings) {
    const { stdin, stdout, stderr, env, clock } = surroundings;
    this.surroundings = surroundings;
    this.options = options;
    const live = !options.json && stdout.isTTY === true && env['TERM'] !== 'dumb';
    this.interactive = live && stdin.isTTY;
    // https://no-color.org: set to anything but the empty string.
    this.color = live && options.color && !env['NO_COLOR'];
    if (options.json) this.#json = new JsonRenderer(stdout, clock);
    this.renderer = this.#json ?? new TextRenderer({ stdout, stderr, clock, live, color: this.color });
  }

  get debug(): boolean {
    return this.options.debug ?? false;
  }

  get clock(): Clock {
    return this.surroundings.clock;
  }

  get paint(): Paint {
    return paint(this.color);
  }

  /** Columns of the terminal; infinite where the output is none. */
  get width(): number {
    const { stdout } = this.surroundings;
    return stdout.isTTY ? stdout.columns || 80 : Number.POSITIVE_INFINITY;
  }

  /**
   * Shows data that is a view of its own: the objects, one per line, for a program, and lines for a person.
   * @param type what the objects are, in their field `type`
   */
  show(type: string, objects: readonly object[], lines: () => readonly string[]): void {
    if (this.#json) for (const object of objects) this.#json.line(type, object);
    else for (const line of lines()) this.surroundings.stdout.write(`${line}\n`);
  }
}

/** What a command does; its result is shown last, and its exit status is the process's. */
export type Action = (cli: Cli) => Promise<CommandResult>;
