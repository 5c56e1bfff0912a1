import { type FerryError, ferryError } from './ferry-error.ts';

export interface NextOptions {
  /** Stops waiting; `next` rejects with the signal's reason. No event is lost by it. */
  readonly signal?: AbortSignal;
  /** Milliseconds to wait for an event. Default: no limit. */
  readonly timeoutMs?: number;
}

/** How many events that nobody has taken yet a queue holds before it gives up, loudly. */
const PENDING_LIMIT = 1_000_000;
/** How many of the events that were taken are remembered. */
const HISTORY_LIMIT = 1000;

interface Waiter<E> {
  readonly resolve: (event: E) => void;
  readonly reject: (reason: unknown) => void;
}

/**
 * The events of one connection that pass a filter, in the order in which they came, since the client's `listen` opened
 * the queue. Open it before the command that causes the event. Several callers of `next` are served in turn.
 *
 * When the connection ends, the events that had come are still handed out, and then every `next` rejects with
 * the reason (QMP_INTERRUPTED, LIBVIRT_INTERRUPTED). `for await` ends without an error only after the queue itself was disposed.
 */
export class EventQueue<E> {
  readonly #label: string;
  readonly #onDispose: () => void;
  readonly #waiters: Waiter<E>[] = [];
  #pending: E[] = [];
  /** Index of the first event in `#pending` that was not taken: `shift` on a long array would copy it. */
  #head = 0;
  #history: E[] = [];
  #end: unknown;
  #ended = false;
  #disposed = false;

  /** Made by `listen` of a client. `label`: what is waited for, for messages. */
  constructor(label: string, onDispose: () => void) {
    this.#label = label;
    this.#onDispose = onDispose;
  }

  /** The last 1000 events that were taken from the queue, oldest first. */
  get history(): readonly E[] {
    return this.#history.slice(-HISTORY_LIMIT);
  }

  /** How many events have come that nobody has taken yet. */
  get length(): number {
    return this.#pending.length - this.#head;
  }

  /**
   * The next event, waiting for it where none is there.
   * @throws FerryError the reason when the connection has ended, NO_EVENT after `timeoutMs`, EVENTS_LOST
   *   when more than a million events came that nobody took, ABORTED when the queue was disposed; the signal's reason.
   */
  async next(options: NextOptions = {}): Promise<E> {
    options.signal?.throwIfAborted();
    if (this.length > 0) return this.#take();
    if (this.#ended) throw this.#end;
    return await this.#wait(options);
  }

  async #wait({ signal, timeoutMs }: NextOptions): Promise<E> {
    const { promise, resolve, reject } = Promise.withResolvers<E>();
    const waiter: Waiter<E> = { resolve, reject };
    this.#waiters.push(waiter);
    const giveUp = (reason: unknown): void => {
      const at = this.#waiters.indexOf(waiter);
      if (at >= 0) this.#waiters.splice(at, 1);
      reject(reason);
    };
    const onAbort = (): void => giveUp(signal?.reason);
    signal?.addEventListener('abort', onAbort, { once: true });
    const timer =
      timeoutMs === undefined
        ? undefined
        : setTimeout(() => giveUp(ferryError('NO_EVENT', { events: this.#label, ms: timeoutMs })), timeoutMs);
    try {
      return await promise;
    } finally {
      clearTimeout(timer);
      signal?.removeEventListener('abort', onAbort);
    }
  }

  #take(): E {
    const event = this.#pending[this.#head] as E;
    this.#head += 1;
    if (this.#head > 1024 && this.#head * 2 > this.#pending.length) {
      this.#pending = this.#pending.slice(this.#head);
      this.#head = 0;
    }
    this.#remember(event);
    return event;
  }

  #remember(event: E): void {
    this.#history.push(event);
    if (this.#history.length > 2 * HISTORY_LIMIT) this.#history = this.#history.slice(-HISTORY_LIMIT);
  }

  /** For the client: hands an event to the queue. */
  offer(event: E): void {
    if (this.#ended) return;
    const waiter = this.#waiters.shift();
    if (waiter) {
      this.#remember(event);
      waiter.resolve(event);
    } else if (this.length >= PENDING_LIMIT) {
      this.end(ferryError('EVENTS_LOST', { limit: PENDING_LIMIT, events: this.#label }));
    } else {
      this.#pending.push(event);
    }
  }

  /** For the client: no event will come any more. */
  end(reason: FerryError): void {
    if (this.#ended) return;
    this.#ended = true;
    this.#end = reason;
    for (const waiter of this.#waiters.splice(0)) waiter.reject(reason);
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<E, void> {
    while (true) {
      let event: E;
      try {
        event = await this.next();
      } catch (error) {
        if (this.#disposed) return;
        throw error;
      }
      yield event;
    }
  }

  /** Closes the queue: nothing is collected any more, what was not taken is dropped, and waiting calls reject. */
  [Symbol.dispose](): void {
    if (this.#disposed) return;
    this.#disposed = true;
    this.#pending = [];
    this.#head = 0;
    this.#ended = false;
    this.end(ferryError('ABORTED', { what: `waiting for ${this.#label}` }));
    this.#onDispose();
  }
}
