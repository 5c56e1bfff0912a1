/**
 * The commands of one connection, from the call to the answer, and the limit of how many are at QEMU at once.
 *
 * With out-of-band execution QEMU queues 8 commands per monitor, and stops reading when the queue is full; an
 * out-of-band command behind it would wait like the others. So at most 7 ordinary commands are sent ahead of their
 * answers; the others wait here, and are known not to have run when the connection dies.
 */
const IN_BAND_LIMIT = 7;

export interface Command {
  readonly id: string;
  readonly name: string;
  /** What goes over the wire. */
  readonly message: Readonly<Record<string, unknown>>;
  readonly line: string;
  readonly oob: boolean;
  readonly resolve: (value: unknown) => void;
  readonly reject: (reason: unknown) => void;
}

export class PendingCommands {
  readonly #write: (line: string) => void;
  readonly #waiting: Command[] = [];
  /** Sent and not answered, also when nobody waits for the answer any more: it holds its place until then. */
  readonly #sent = new Map<string, Command>();
  #inBand = 0;

  constructor(write: (line: string) => void) {
    this.#write = write;
  }

  /** Sends the command, at once or when its turn comes. */
  submit(command: Command): void {
    if (!command.oob && this.#inBand >= IN_BAND_LIMIT) this.#waiting.push(command);
    else this.#send(command);
  }

  #send(command: Command): void {
    this.#sent.set(command.id, command);
    if (!command.oob) this.#inBand += 1;
    this.#write(command.line);
  }

  /** The command that this answer is for, or undefined: an id that is not of this connection, or answered already. */
  answered(id: unknown): Command | undefined {
    const command = typeof id === 'string' ? this.#sent.get(id) : undefined;
    if (command === undefined) return undefined;
    this.#sent.delete(command.id);
    if (!command.oob) this.#inBand -= 1;
    const next = this.#inBand < IN_BAND_LIMIT ? this.#waiting.shift() : undefined;
    if (next) this.#send(next);
    return command;
  }

  /** Takes back a command that nobody waits for. Returns whether it had been sent. */
  abandon(command: Command): boolean {
    const at = this.#waiting.indexOf(command);
    if (at >= 0) this.#waiting.splice(at, 1);
    return at < 0;
  }

  /** Empties both lists: the connection has ended. */
  drain(): { readonly sent: readonly Command[]; readonly unsent: readonly Command[] } {
    const sent = [...this.#sent.values()];
    this.#sent.clear();
    this.#inBand = 0;
    return { sent, unsent: this.#waiting.splice(0) };
  }
}
