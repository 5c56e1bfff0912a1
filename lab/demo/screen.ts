import { styleText } from 'node:util';

/** What the demo prints. */
export class Screen {
  readonly #out: NodeJS.WriteStream;
  #failed = false;

  constructor(out: NodeJS.WriteStream) {
    this.#out = out;
  }

  /** Whether a check was false. */
  get failed(): boolean {
    return this.#failed;
  }

  title(text: string): void {
    this.#write(`\n${this.#style('bold', text)}`);
  }

  line(text: string): void {
    this.#write(text);
  }

  command(...words: readonly string[]): void {
    this.#write(this.#style('dim', `$ ${words.join(' ')}`));
  }

  check(holds: boolean, what: string): void {
    if (!holds) this.#failed = true;
    this.#write(`${holds ? this.#style('green', 'yes') : this.#style('red', 'NO ')} ${what}`);
  }

  #style(style: Parameters<typeof styleText>[0], text: string): string {
    return styleText(style, text, { stream: this.#out });
  }

  #write(text: string): void {
    this.#out.write(`${text}\n`);
  }
}
