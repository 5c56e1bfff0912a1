import type { Writable } from 'node:stream';
import type { Clock, FerryError } from '../../base/index.ts';
import type { MigrationEvent, MigrationPlan, ProgressReport } from '../../migration/index.ts';
import type { CommandResult, Renderer } from './renderer.ts';
import { refusalsOf } from './refusals-of.ts';

/** One JSON object per line, each with `type` and the wall-clock `time`. The last one is of type `result`. */
export class JsonRenderer implements Renderer {
  readonly #out: Writable;
  readonly #clock: Clock;

  constructor(out: Writable, clock: Clock) {
    this.#out = out;
    this.#clock = clock;
  }

  /** Any other object, for what has a type of its own (`vm`, `migration`). */
  line(type: string, value: object): void {
    this.#out.write(`${JSON.stringify({ type, time: new Date(this.#clock.now()).toISOString(), ...value })}\n`);
  }

  plan(plan: MigrationPlan): void {
    this.line('plan', { plan });
  }

  begin(plan: MigrationPlan): void {
    this.line('begin', { id: plan.id });
  }

  event({ type, ...payload }: MigrationEvent): void {
    this.line(type, payload);
  }

  progress(report: ProgressReport): void {
    this.line('progress', report);
  }

  note(message: string): void {
    this.line('note', { message });
  }

  question(): void {
    // Nobody is asked where the output is for a program.
  }

  error(error: FerryError, { debug }: { readonly debug: boolean }): void {
    const refusals = refusalsOf(error);
    this.line('error', {
      ...error.toJSON(),
      exitStatus: error.exitStatus,
      ...(refusals.length > 0 && { refusals }),
      ...(debug && { stack: error.stack }),
    });
  }

  result(result: CommandResult): void {
    this.line('result', result);
  }
}
