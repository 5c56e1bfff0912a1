import { type ChildProcess, spawn } from 'node:child_process';
import { fileURLToPath } from 'node:url';

const BLOCKFERRY = fileURLToPath(new URL('../../bin/blockferry', import.meta.url));

/** A `blockferry` command that may be killed. */
export class Manager {
  readonly ended: Promise<number | null>;
  /** The step that it was at, as it says itself. */
  step = 'before the first step';
  /** What it has said, for when it goes wrong. */
  readonly said: string[] = [];
  readonly #child: ChildProcess;
  readonly #watchers = new Set<() => void>();

  constructor(args: readonly string[]) {
    const child = spawn(BLOCKFERRY, [...args, '--json'], { stdio: ['ignore', 'pipe', 'pipe'] });
    this.#child = child;
    let rest = '';
    child.stdout.setEncoding('utf8').on('data', (text: string) => {
      const lines = (rest + text).split('\n');
      rest = lines.pop() ?? '';
      for (const line of lines) this.#read(line);
    });
    child.stderr.setEncoding('utf8').on('data', (text: string) => void this.said.push(text));
    this.ended = new Promise((resolve) => {
      child.once('close', (status) => {
        resolve(status);
        this.#tell();
      });
    });
  }

  get running(): boolean {
    return this.#child.exitCode === null && this.#child.signalCode === null;
  }

  /** Resolves when it is at this step, or has ended. */
  async reached(step: string): Promise<void> {
    while (this.running && this.step !== step) {
      await new Promise<void>((resolve) => void this.#watchers.add(resolve));
    }
  }

  kill(): void {
    this.#child.kill('SIGKILL');
  }

  #read(line: string): void {
    if (line.trim() === '') return;
    const event = JSON.parse(line) as { type?: string; step?: string; state?: string; message?: string };
    if (event.type !== 'progress' && event.type !== 'plan') this.said.push(line);
    if (event.type === 'step' && event.step !== undefined) this.step = `${event.step} (${event.state})`;
    this.#tell();
  }

  #tell(): void {
    for (const watcher of this.#watchers) watcher();
    this.#watchers.clear();
  }
}
