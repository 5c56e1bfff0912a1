import { Writable } from 'node:stream';

// Cursor up, cursor to column 1, clear to the end of the screen; a new line; ordinary text, or what is not known here.
const SEQUENCES = new RegExp(String.raw`\x1b\[(\d+)A|\x1b\[(1G|0J)|(\n)|([^\x1b\n]+|\x1b)`, 'g');

/** What a terminal would show: knows the few sequences that the live area uses, and refuses all others. */
export class Screen extends Writable {
  readonly isTTY = true;
  columns: number;
  rows = 24;
  /** How often the cursor went up: one for each redraw. */
  redraws = 0;
  #lines: string[] = [''];
  #row = 0;

  constructor(columns = 80) {
    super({ decodeStrings: false });
    this.columns = columns;
  }

  /** The lines that are to be seen, without an empty last one. */
  get shown(): string[] {
    return this.#lines.at(-1) === '' ? this.#lines.slice(0, -1) : [...this.#lines];
  }

  override _write(text: string, _: BufferEncoding, done: () => void): void {
    for (const [, up, rest, newline, plain] of text.matchAll(SEQUENCES)) {
      if (plain?.startsWith('\u001b'))
        throw new Error(`an escape sequence that the screen does not know: ${JSON.stringify(text)}`);
      if (up !== undefined) {
        this.#row -= Number(up);
        this.redraws += 1;
        if (this.#row < 0) throw new Error('the cursor left the screen');
      } else if (rest === '0J') {
        this.#lines = [...this.#lines.slice(0, this.#row), ''];
      } else if (newline) {
        this.#row += 1;
        this.#lines[this.#row] ??= '';
      } else if (plain !== undefined) {
        this.#lines[this.#row] += plain;
      }
    }
    done();
  }
}
