/**
 * The calls of one connection, from the call to the reply, and the limit of how many are at libvirtd at once.
 *
 * libvirtd takes 5 requests of one client at a time (`max_client_requests`) and does not read further ones until one is
 * answered; an answer to its keepalive would wait behind them. So no more are sent ahead of their replies; the others
 * wait here, and are known not to have run when the connection ends.
 */
const LIMIT = 5;

export interface Call {
  readonly name: string;
  readonly serial: number;
  readonly bytes: Buffer;
  readonly resolve: (payload: Uint8Array) => void;
  readonly reject: (reason: unknown) => void;
}

export class PendingCalls {
  readonly #write: (bytes: Buffer) => void;
  readonly #waiting: Call[] = [];
  /** Sent and not answered, also when nobody waits for the reply any more: it holds its place until then. */
  readonly #sent = new Map<number, Call>();

  constructor(write: (bytes: Buffer) => void) {
    this.#write = write;
  }

  /** Sends the call, at once or when its turn comes. */
  submit(call: Call): void {
    if (this.#sent.size >= LIMIT) this.#waiting.push(call);
    else this.#send(call);
  }

  #send(call: Call): void {
    this.#sent.set(call.serial, call);
    this.#write(call.bytes);
  }

  /** The call that this reply is for, or undefined: a serial that was never sent, or is answered already. */
  answered(serial: number): Call | undefined {
    const call = this.#sent.get(serial);
    if (call === undefined) return undefined;
    this.#sent.delete(serial);
    const next = this.#waiting.shift();
    if (next) this.#send(next);
    return call;
  }

  /** Takes back a call that nobody waits for. Returns whether it had been sent. */
  abandon(call: Call): boolean {
    const at = this.#waiting.indexOf(call);
    if (at >= 0) this.#waiting.splice(at, 1);
    return at < 0;
  }

  /** Empties both lists: the connection has ended. */
  drain(): { readonly sent: readonly Call[]; readonly unsent: readonly Call[] } {
    const sent = [...this.#sent.values()];
    this.#sent.clear();
    return { sent, unsent: this.#waiting.splice(0) };
  }
}
