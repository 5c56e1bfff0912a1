import type { ReadStream } from 'node:tty';
import type { Renderer } from './terminal/renderer.ts';

/** What can be done about a migration that this process drives. */
export interface Driven {
  /** Undo everything. */
  abort(): void;
  /** Stop driving; the disks stay mirrored. */
  leave(): void;
}

/** The part of `process` that signals come from. */
export interface SignalSource {
  on(signal: NodeJS.Signals, listener: () => void): unknown;
  off(signal: NodeJS.Signals, listener: () => void): unknown;
}

const QUESTION = '[a]bort and roll back, [l]eave it mirrored and stop driving, [c]ontinue?';
const CTRL_C = '\u0003';

/**
 * What signals mean while a migration is driven. SIGINT on a terminal asks, and once more while it asks means abort;
 * without a terminal it aborts and rolls back at once, as SIGTERM does always. SIGHUP (the terminal is gone) leaves.
 * The swap itself is not interrupted by any of them: the migration sees to that.
 *
 * Disposing it takes the handlers away, and the question with them.
 */
export class Interrupts implements Disposable {
  readonly #driven: Driven;
  readonly #renderer: Renderer;
  readonly #stdin: ReadStream | undefined;
  readonly #signals: SignalSource;
  readonly #onInterrupt = (): void => this.#interrupt();
  readonly #onTerminate = (): void => this.#abort('SIGTERM');
  readonly #onHangUp = (): void => this.#driven.leave();
  #asking = false;

  /** @param stdin where the answer comes from; undefined when nobody sits there */
  constructor(driven: Driven, renderer: Renderer, stdin: ReadStream | undefined, signals: SignalSource = process) {
    this.#driven = driven;
    this.#renderer = renderer;
    this.#stdin = stdin;
    this.#signals = signals;
    signals.on('SIGINT', this.#onInterrupt);
    signals.on('SIGTERM', this.#onTerminate);
    signals.on('SIGHUP', this.#onHangUp);
  }

  [Symbol.dispose](): void {
    this.#stopAsking();
    this.#signals.off('SIGINT', this.#onInterrupt);
    this.#signals.off('SIGTERM', this.#onTerminate);
    this.#signals.off('SIGHUP', this.#onHangUp);
  }

  #interrupt(): void {
    if (this.#stdin === undefined || this.#asking) return this.#abort('SIGINT');
    this.#asking = true;
    this.#renderer.question(QUESTION);
    // One key, without Enter; in this mode Ctrl-C is a key and not a signal.
    this.#stdin.setRawMode(true);
    this.#stdin.on('data', this.#onKeys).resume();
    return undefined;
  }

  readonly #onKeys = (keys: Buffer | string): void => {
    for (const key of keys.toString().toLowerCase()) {
      if (key === 'a' || key === CTRL_C) return this.#abort('asked for');
      if (key === 'l') {
        this.#stopAsking();
        return this.#driven.leave();
      }
      if (key === 'c') {
        this.#stopAsking();
        return this.#renderer.note('going on');
      }
    }
    return undefined;
  };

  #abort(why: string): void {
    this.#stopAsking();
    this.#renderer.note(`aborting (${why}): the migration is rolled back, unless its disks have been swapped`);
    this.#driven.abort();
  }

  #stopAsking(): void {
    if (!this.#asking) return;
    this.#asking = false;
    this.#renderer.question(undefined);
    this.#stdin?.off('data', this.#onKeys).pause();
    this.#stdin?.setRawMode(false);
  }
}
