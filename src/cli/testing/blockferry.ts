import { type ChildProcess, spawn } from 'node:child_process';
import { fileURLToPath } from 'node:url';

const PROGRAM = fileURLToPath(new URL('../../../bin/blockferry', import.meta.url));

/** An object of `--json`. */
export type JsonLine = { readonly type: string } & Readonly<Record<string, unknown>>;

export interface Ended {
  /** The exit status, or the signal that ended it. */
  readonly status: number | NodeJS.Signals;
  readonly stdout: string;
  readonly stderr: string;
}

/** The real program, as a process of its own. */
export class Blockferry {
  readonly ended: Promise<Ended>;
  readonly #child: ChildProcess;
  readonly #waiting = new Set<() => void>();
  #stdout = '';
  #stderr = '';
  #over = false;

  private constructor(program: string, args: readonly string[]) {
    this.#child = spawn(program, args, { stdio: ['pipe', 'pipe', 'pipe'] });
    this.#child.stdout?.setEncoding('utf8').on('data', (text: string) => {
      this.#stdout += text;
      this.#wake();
    });
    this.#child.stderr?.setEncoding('utf8').on('data', (text: string) => {
      this.#stderr += text;
      this.#wake();
    });
    this.ended = new Promise((resolve, reject) => {
      this.#child.once('error', reject);
      this.#child.once('close', (status, signal) => {
        this.#over = true;
        resolve({ status: status ?? signal ?? 'SIGKILL', stdout: this.#stdout, stderr: this.#stderr });
        this.#wake();
      });
    });
  }

  static start(...args: readonly string[]): Blockferry {
    return new Blockferry(PROGRAM, args);
  }

  /** On a terminal of its own, made by script(1); what is typed goes there. */
  static onTerminal(...args: readonly string[]): Blockferry {
    const quoted = [PROGRAM, ...args].map((word) => `'${word.replaceAll("'", String.raw`'\''`)}'`).join(' ');
    // Without exec a plain sh stays between, and dies of the Ctrl-C that the program has handled.
    const command = `exec ${quoted}`;
    return new Blockferry('script', ['--quiet', '--return', '--flush', '--command', command, '/dev/null']);
  }

  /** Runs it to its end. */
  static async run(...args: readonly string[]): Promise<Ended> {
    return await Blockferry.start(...args).ended;
  }

  /** Runs it with `--json` to its end. */
  static async json(...args: readonly string[]): Promise<{ status: Ended['status']; lines: readonly JsonLine[] }> {
    const { status, stdout } = await Blockferry.run(...args, '--json');
    return { status, lines: parse(stdout) };
  }

  get pid(): number {
    return this.#child.pid ?? 0;
  }

  /** What it has written to standard output as objects, so far. */
  get lines(): readonly JsonLine[] {
    return parse(this.#stdout);
  }

  get output(): string {
    return this.#stdout;
  }

  /** Waits until what it has written is as wanted. @throws when it ends before */
  async until<T>(look: (program: this) => T | undefined | false): Promise<T> {
    for (;;) {
      const found = look(this);
      if (found !== undefined && found !== false) return found;
      if (this.#over) throw new Error(`it ended before that: ${this.#stdout}${this.#stderr}`);
      await new Promise<void>((resolve) => void this.#waiting.add(resolve));
    }
  }

  type(keys: string): void {
    this.#child.stdin?.write(keys);
  }

  kill(signal: NodeJS.Signals): void {
    this.#child.kill(signal);
  }

  #wake(): void {
    for (const wake of this.#waiting) wake();
    this.#waiting.clear();
  }
}

function parse(text: string): JsonLine[] {
  const whole = text.slice(0, text.lastIndexOf('\n') + 1);
  return whole
    .split('\n')
    .filter((line) => line.startsWith('{'))
    .map((line) => JSON.parse(line) as JsonLine);
}
