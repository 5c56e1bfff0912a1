import { type ChildProcess, spawn } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Moment } from './choices.ts';

const BLOCKFERRY = fileURLToPath(new URL('../../bin/blockferry', import.meta.url));

interface Said {
  readonly type?: string;
  readonly step?: string;
  readonly state?: string;
}

/** A process that drives a migration, or recovers one, and may be killed. */
export class Manager {
  /** Its exit status; null when it was killed. */
  readonly ended: Promise<number | null>;
  /** The step that it was at last, as it says itself: `copy (begun)`. */
  step = 'before the first step';
  /** What it has said, but for progress. */
  readonly said: string[] = [];
  readonly #child: ChildProcess;
  readonly #seen = new Set<string>();
  readonly #watchers = new Set<() => void>();

  constructor([program, ...args]: readonly [string, ...string[]]) {
    this.said.push(`$ ${[program, ...args].join(' ')}`);
    const child = spawn(program, args, { stdio: ['ignore', 'pipe', 'pipe'] });
    this.#child = child;
    let rest = '';
    child.stdout.setEncoding('utf8').on('data', (text: string) => {
      const lines = (rest + text).split('\n');
      rest = lines.pop() ?? '';
      for (const line of lines) this.#read(line);
    });
    child.stderr.setEncoding('utf8').on('data', (text: string) => void this.said.push(text));
    this.ended = new Promise((resolve) => {
      child.once('close', (status, signal) => {
        this.said.push(`ended: ${signal ?? status}`);
        resolve(status);
        this.#tell();
      });
    });
  }

  /** A command of blockferry. */
  static blockferry(...args: readonly string[]): Manager {
    return new Manager([BLOCKFERRY, ...args, '--json']);
  }

  get running(): boolean {
    return this.#child.exitCode === null && this.#child.signalCode === null;
  }

  /** Waits until a moment has come, or it has ended. One that kills itself knows its moment. */
  async until(moment: Moment): Promise<void> {
    if (moment.kind === 'exact') await this.ended;
    else {
      if (moment.kind === 'step') await this.#reached(moment.at);
      await Promise.race([sleep(moment.after), this.ended]);
    }
  }

  async #reached(step: string): Promise<void> {
    while (this.running && !this.#seen.has(step)) {
      await new Promise<void>((resolve) => void this.#watchers.add(resolve));
    }
  }

  /** @throws Error when it has failed by itself */
  async refuseFailure(): Promise<void> {
    if (!this.running && ((await this.ended) ?? 0) !== 0)
      throw new Error('nobody was killed, and it failed all the same');
  }

  kill(): void {
    this.#child.kill('SIGKILL');
  }

  #read(line: string): void {
    if (line.trim() === '') return;
    const parsed = JSON.parse(line) as Said & { readonly event?: Said | null };
    const event = parsed.event ?? parsed;
    if (event.type !== 'progress' && event.type !== 'plan') this.said.push(line);
    if (event.type === 'step' && event.step !== undefined) {
      this.step = `${event.step} (${event.state})`;
      this.#seen.add(this.step);
    }
    this.#tell();
  }

  #tell(): void {
    for (const watcher of this.#watchers) watcher();
    this.#watchers.clear();
  }
}
