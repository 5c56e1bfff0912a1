import { clearScreenDown, cursorTo, moveCursor } from 'node:readline';
import type { Writable } from 'node:stream';
import type { Clock } from '../../base/index.ts';

/** What the live area needs of a terminal. */
export type Terminal = Writable & { readonly columns?: number; readonly rows?: number };

/** At most ten redraws a second: more cannot be read, and a slow line (ssh) would not keep up. */
const REDRAW_EVERY_MS = 100;

/**
 * The last lines of a terminal, redrawn in place, with ordinary lines scrolling by above them. A line is never wider
 * than the terminal: `lines` is asked to draw for a width.
 */
export class LiveArea {
  readonly #out: Terminal;
  readonly #clock: Clock;
  readonly #lines: (width: number) => readonly string[];
  readonly #closed = new AbortController();
  #drawn = 0;
  #drawnAt = Number.NEGATIVE_INFINITY;
  #waiting = false;

  constructor(out: Terminal, clock: Clock, lines: (width: number) => readonly string[]) {
    this.#out = out;
    this.#clock = clock;
    this.#lines = lines;
  }

  /** Writes lines that stay, above the live ones. */
  print(...lines: readonly string[]): void {
    this.#clear();
    for (const line of lines) this.#out.write(`${line}\n`);
    this.#draw();
  }

  /** What is shown has changed: it is redrawn, now or soon. */
  changed(): void {
    if (this.#closed.signal.aborted || this.#waiting) return;
    const wait = this.#drawnAt + REDRAW_EVERY_MS - this.#clock.monotonic();
    if (wait <= 0) return this.redraw();
    this.#waiting = true;
    this.#clock.sleep(wait, this.#closed.signal).then(
      () => {
        this.#waiting = false;
        this.redraw();
      },
      // The area was closed meanwhile: there is nothing left to draw.
      () => undefined,
    );
  }

  redraw(): void {
    this.#clear();
    this.#draw();
  }

  /** Takes the live lines away; from here on lines are only printed. */
  close(): void {
    this.#closed.abort();
    this.#clear();
  }

  #clear(): void {
    if (this.#drawn === 0) return;
    moveCursor(this.#out, 0, -this.#drawn);
    cursorTo(this.#out, 0);
    clearScreenDown(this.#out);
    this.#drawn = 0;
  }

  #draw(): void {
    if (this.#closed.signal.aborted) return;
    // One column stays free: a terminal that wraps at its last column would make two rows of a full line. More lines
    // than rows could not be moved back over.
    // A terminal that does not know its size says 0.
    const lines = this.#lines((this.#out.columns || 80) - 1).slice(0, Math.max(1, (this.#out.rows || 24) - 1));
    for (const line of lines) this.#out.write(`${line}\n`);
    this.#drawn = lines.length;
    this.#drawnAt = this.#clock.monotonic();
  }
}
