import { frameBytes, PROGRAM, TYPE } from './wire/frame.ts';

const PING = 1;
const PONG = 2;

export interface KeepAliveOptions {
  /** Milliseconds of silence after which libvirtd is asked whether it is there; 0: never. */
  readonly intervalMs: number;
  /** How many such questions may stay unanswered, one after another, before the connection counts as dead. */
  readonly count: number;
}

export interface KeepAliveHandlers {
  readonly send: (bytes: Buffer) => void;
  readonly onDead: (why: string) => void;
}

/**
 * libvirt's keepalive (`virkeepaliveprotocol.x`): either side may ask, and whoever does not answer is given up. libvirtd
 * does so with us, by its `keepalive_interval`; and we with it, as TCP alone says nothing when a host is gone.
 */
export class KeepAlive {
  readonly #options: KeepAliveOptions;
  readonly #handlers: KeepAliveHandlers;
  readonly #timer: NodeJS.Timeout | undefined;
  #unanswered = 0;

  constructor(options: KeepAliveOptions, handlers: KeepAliveHandlers) {
    this.#options = options;
    this.#handlers = handlers;
    this.#timer = options.intervalMs > 0 ? setInterval(() => this.#ask(), options.intervalMs) : undefined;
    this.#timer?.unref();
  }

  /** Something came: the peer is alive. */
  heard(): void {
    this.#unanswered = 0;
    this.#timer?.refresh();
  }

  /** A message of the keepalive program came. An answer needs nothing more. */
  received(procedure: number): void {
    if (procedure === PING) this.#send(PONG);
  }

  stop(): void {
    clearInterval(this.#timer);
  }

  #ask(): void {
    const { count, intervalMs } = this.#options;
    if (this.#unanswered >= count) {
      this.#handlers.onDead(`it has not answered for ${Math.round((intervalMs * (count + 1)) / 1000)} s`);
      return;
    }
    this.#unanswered += 1;
    this.#send(PING);
  }

  #send(procedure: number): void {
    this.#handlers.send(frameBytes({ program: PROGRAM.keepalive, procedure, type: TYPE.event, serial: 0 }));
  }
}
