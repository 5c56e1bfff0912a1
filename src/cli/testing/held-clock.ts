import type { Clock } from '../../base/index.ts';

/** A clock that stands still until it is moved on; sleepers wake when their time has come. */
export class HeldClock implements Clock {
  #at = 0;
  #sleepers: { readonly until: number; readonly wake: () => void }[] = [];

  /** Wall-clock time begins at 2026-11-23T01:00:00Z. */
  now(): number {
    return Date.UTC(2026, 10, 23, 1) + this.#at;
  }

  monotonic(): number {
    return this.#at;
  }

  sleep(ms: number, signal?: AbortSignal): Promise<void> {
    return new Promise((resolve, reject) => {
      signal?.addEventListener('abort', () => reject(signal.reason as Error), { once: true });
      this.#sleepers.push({ until: this.#at + ms, wake: resolve });
    });
  }

  timeout(ms: number): AbortSignal {
    const limit = new AbortController();
    this.#sleepers.push({ until: this.#at + ms, wake: () => limit.abort() });
    return limit.signal;
  }

  /** Lets so many milliseconds pass; resolves when those who woke have had their turn. */
  async pass(ms: number): Promise<void> {
    this.#at += ms;
    const due = this.#sleepers.filter(({ until }) => until <= this.#at);
    this.#sleepers = this.#sleepers.filter(({ until }) => until > this.#at);
    for (const { wake } of due) wake();
    await new Promise((resolve) => void setImmediate(resolve));
  }
}
