/** Bytes per second of something that grows, smoothed over the last few seconds. */
export class RateMeter {
  readonly #window: number;
  #samples: { readonly at: number; readonly done: number }[] = [];

  /** @param windowMs over how many milliseconds it is smoothed */
  constructor(windowMs = 5000) {
    this.#window = windowMs;
  }

  /**
   * Takes a sample.
   * @param at milliseconds of a monotonic clock
   * @param done bytes so far
   * @returns bytes per second; undefined while there is too little to tell
   */
  sample(at: number, done: number): number | undefined {
    const last = this.#samples.at(-1);
    if (last !== undefined && done < last.done) this.#samples = [];
    this.#samples.push({ at, done });
    while (this.#samples.length > 2 && at - (this.#samples[0]?.at ?? at) > this.#window) this.#samples.shift();
    const [first] = this.#samples;
    if (first === undefined || at - first.at < 200) return undefined;
    return ((done - first.done) * 1000) / (at - first.at);
  }
}
