/** Lets a loop sleep until something happens or some time is over, whichever comes first. */
export class Wakeup {
  #woken = false;
  #resolve: (() => void) | undefined;

  /** Ends the wait under way, or the next one. */
  readonly wake = (): void => {
    this.#woken = true;
    this.#resolve?.();
  };

  /** Resolves once `wake` was called since the last wait, or after `ms`. */
  async wait(ms: number): Promise<void> {
    if (!this.#woken) {
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, ms);
        this.#resolve = () => {
          clearTimeout(timer);
          resolve();
        };
      });
    }
    this.#resolve = undefined;
    this.#woken = false;
  }
}
