/**
 * Tells whether something comes nearer to its end, without a limit for how long that may take: only a whole window in which
 * what is left was never less than before it counts as no progress.
 */
export class StallWatch {
  readonly #windowMs: number;
  #since: number;
  #best = Number.POSITIVE_INFINITY;

  constructor(windowMs: number, now: number) {
    this.#windowMs = windowMs;
    this.#since = now;
  }

  /** @param left what is left, in any unit. @returns true once for each window without progress */
  stalled(now: number, left: number): boolean {
    if (left < this.#best) {
      this.#best = left;
      this.#since = now;
      return false;
    }
    if (now - this.#since < this.#windowMs) return false;
    this.#since = now;
    return true;
  }
}
