import type { Writable } from 'node:stream';
import type { Clock, FerryError } from '../../base/index.ts';
import type { MigrationEvent, MigrationPlan, ProgressReport } from '../../migration/index.ts';
import { DiskProgress, type DiskRow } from './disk-progress.ts';
import { errorLines } from './error-lines.ts';
import { eventText } from './event-text.ts';
import { LiveArea, type Terminal } from './live-area.ts';
import { planView } from './plan-view.ts';
import { progressLines, progressText } from './progress-line.ts';
import type { CommandResult, Renderer } from './renderer.ts';
import { paint, type Paint, printable } from './text.ts';

export interface TextOptions {
  readonly stdout: Terminal;
  readonly stderr: Writable;
  readonly clock: Clock;
  /** Lines are redrawn in place: standard output is a terminal. */
  readonly live: boolean;
  readonly color: boolean;
}

/** Where lines cannot be redrawn, the progress of a disk is a line now and then. */
const PLAIN_PROGRESS_EVERY_MS = 5000;

/** For people: lines that stay, and on a terminal one live line per disk below them. */
export class TextRenderer implements Renderer {
  readonly #options: TextOptions;
  readonly #paint: Paint;
  readonly #area: LiveArea | undefined;
  readonly #saidAt = new Map<string, number>();
  #progress: DiskProgress | undefined;
  #question: string | undefined;
  #heldMs: number | undefined;

  constructor(options: TextOptions) {
    this.#options = options;
    this.#paint = paint(options.color);
    if (options.live) this.#area = new LiveArea(options.stdout, options.clock, (width) => this.#live(width));
  }

  plan(plan: MigrationPlan): void {
    const width = this.#options.live ? this.#options.stdout.columns || 80 : Number.POSITIVE_INFINITY;
    this.#print(...planView(plan, width, this.#paint));
  }

  begin(plan: MigrationPlan): void {
    this.#progress = new DiskProgress(plan);
    this.#print('', `migration ${plan.id} of ${printable(plan.vm.name)}`);
  }

  event(event: MigrationEvent): void {
    this.#progress?.event(event);
    if (event.type === 'held' && event.kind === 'pivot') this.#heldMs = event.ms;
    const text = eventText(event, this.#paint);
    if (text !== undefined) this.#print(text);
    this.#area?.changed();
  }

  progress(report: ProgressReport): void {
    this.#progress?.report(report);
    if (this.#area) return this.#area.changed();
    for (const row of this.#progress?.rows() ?? []) if (report.disks.includes(row.disk)) this.#sayNowAndThen(row);
    return undefined;
  }

  note(text: string): void {
    this.#print(printable(text));
  }

  question(text: string | undefined): void {
    this.#question = text;
    this.#area?.redraw();
  }

  error(error: FerryError, options: { readonly debug: boolean }): void {
    this.#area?.close();
    for (const line of errorLines(error, this.#paint, options)) this.#options.stderr.write(`${line}\n`);
  }

  result({ exitStatus, message }: CommandResult): void {
    this.#area?.close();
    // An error has said the same on standard error.
    if (exitStatus === 0 && message !== '') this.#print(this.#paint('bold', printable(message)));
    // Scripts look for this line. It is printed once, and only for the swap.
    if (this.#heldMs !== undefined) this.#print(`guest I/O held ${this.#heldMs.toFixed(1)} ms`);
  }

  #print(...lines: readonly string[]): void {
    if (this.#area) this.#area.print(...lines);
    else for (const line of lines) this.#options.stdout.write(`${line}\n`);
  }

  #live(width: number): string[] {
    const lines = this.#progress ? progressLines(this.#progress.rows(), width, this.#paint) : [];
    return this.#question === undefined ? lines : [...lines, this.#paint('bold', this.#question)];
  }

  #sayNowAndThen(row: DiskRow): void {
    const text = progressText(row);
    if (text === '') return;
    const key = `${row.disk} ${row.phase}`;
    const now = this.#options.clock.monotonic();
    if (now - (this.#saidAt.get(key) ?? Number.NEGATIVE_INFINITY) < PLAIN_PROGRESS_EVERY_MS) return;
    this.#saidAt.set(key, now);
    this.#print(printable(`${row.disk}: ${row.phase}: ${text}`));
  }
}
