import { type ChildProcessByStdio, spawn } from 'node:child_process';
import { createInterface } from 'node:readline';
import type { Readable } from 'node:stream';
import { fileURLToPath } from 'node:url';
import type { MigrationEvent, MigrationRequest, Outcome, StepName } from '../src/migration/index.ts';
import { LabError } from './requires.ts';

/** Where a process that drives a migration is to be killed, by itself and at that very moment. */
export interface Death {
  readonly step: StepName;
  /** While the step is undone. */
  readonly undoing?: boolean;
  /**
   * `before` and `after` the step acts; or in the midst of a swap: all jobs pending (`held`), the mirrors on the target's
   * chain (`attached`), the commit record written (`recorded`), the first of the jobs finalized, or all of them. Through
   * libvirt a disk is pivoted when it is held (`half held`: the first of them), and `released` when the VM goes on.
   */
  readonly when: 'before' | 'after' | 'half held' | 'held' | 'attached' | 'recorded' | 'half released' | 'released';
}

/** What a `MigrationProcess` is to do. Plain data. */
export interface ChildOrder {
  readonly qmpPath: string;
  /** A VM of libvirt instead. */
  readonly domain?: { readonly uri: string; readonly name: string };
  readonly stateDir: string;
  readonly request?: Partial<MigrationRequest>;
  /** Go on with this migration instead of beginning one. */
  readonly takeOver?: string;
  /** With `takeOver`: roll it back. */
  readonly abort?: boolean;
  readonly death?: Death;
}

interface Line {
  readonly id?: string;
  readonly event?: MigrationEvent | null;
  readonly outcome?: Outcome;
}

const CHILD = fileURLToPath(new URL('migration-child.ts', import.meta.url));

/** The program and the arguments of a process that drives a migration. */
export function childCommand(order: ChildOrder): [string, ...string[]] {
  return [process.execPath, CHILD, JSON.stringify(order)];
}

/** A process of its own that drives a migration, and may die of it. */
export class MigrationProcess implements AsyncDisposable {
  readonly #child: ChildProcessByStdio<null, Readable, Readable>;
  readonly #lines: Line[] = [];
  readonly #ended: Promise<{ readonly status: number | null; readonly signal: NodeJS.Signals | null }>;
  #over = false;
  #stderr = '';
  #wake: () => void = () => undefined;

  constructor(order: ChildOrder) {
    const [program, ...args] = childCommand(order);
    this.#child = spawn(program, args, { stdio: ['ignore', 'pipe', 'pipe'] });
    this.#child.stderr.setEncoding('utf8').on('data', (text: string) => (this.#stderr += text));
    createInterface(this.#child.stdout).on('line', (line) => {
      this.#lines.push(JSON.parse(line) as Line);
      this.#wake();
    });
    this.#ended = new Promise((resolve) => {
      this.#child.once('close', (status, signal) => {
        this.#over = true;
        this.#wake();
        resolve({ status, signal });
      });
    });
  }

  /** The id of its migration; known when it has begun. */
  get id(): string {
    return this.#lines.find(({ id }) => id !== undefined)?.id ?? '';
  }

  /**
   * Waits for an event, which may have been already.
   * @throws LabError when the process ends without it
   */
  async seen(wanted: (event: MigrationEvent) => boolean): Promise<void> {
    while (!this.#lines.some(({ event }) => event && wanted(event))) {
      if (this.#over) throw new LabError(`the migration's process ended before: ${this.#stderr.trim()}`);
      await new Promise<void>((resolve) => void (this.#wake = resolve));
    }
  }

  /** How it ended; undefined when it was killed. @throws LabError when it failed */
  async outcome(): Promise<Outcome | undefined> {
    const { status, signal } = await this.#ended;
    if (signal === 'SIGKILL') return undefined;
    const outcome = this.#lines.at(-1)?.outcome;
    if (status !== 0 || outcome === undefined)
      throw new LabError(`the migration's process failed: ${this.#stderr.trim()}`);
    return outcome;
  }

  /** kill -9, from outside. */
  async kill(): Promise<void> {
    this.#child.kill('SIGKILL');
    await this.#ended;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.kill();
  }
}
