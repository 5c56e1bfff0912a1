/**
 * One connection to a monitor, without the vocabulary of QEMU: greeting, negotiation, ids, answers, events, and its end.
 *
 *     connecting --greeting--> negotiating --qmp_capabilities--> ready --end--> closed
 *
 * Any state goes to `closed` when the connection ends, for whatever reason; that happens once, in `#finish`, which
 * rejects all that waits. So nothing ever hangs on a connection that is gone.
 */
import { randomBytes } from 'node:crypto';
import type { Socket } from 'node:net';
import { type FerryError, ferryError, isFerryError, messageOf, waitWithin } from '../base/index.ts';
import { formatQmpAddress, type QmpAddress } from './address.ts';
import { formatExactJson } from './exact-json.ts';
import { parseMessage, type QmpGreeting, type QmpMessage, type RawEvent } from './message.ts';
import { MessageSplitter } from './message-splitter.ts';
import { type Command, PendingCommands } from './pending-commands.ts';

/** `connecting` until the greeting, `negotiating` until QEMU has accepted the capabilities. */
export type QmpState = 'connecting' | 'negotiating' | 'ready' | 'closed';

export interface ExecuteOptions {
  /** Stops waiting: the call rejects with the signal's reason at once, whatever QEMU does with the command. */
  readonly signal?: AbortSignal;
  /** Milliseconds to wait for the answer. Default: no limit, as a command may wait for I/O. */
  readonly timeoutMs?: number;
  /** Execute ahead of all others, even while the monitor is blocked. Only `yank`, `query-yank` and a few more can. */
  readonly oob?: boolean;
}

export interface SessionHandlers {
  readonly onEvent: (event: RawEvent) => void;
  readonly onEnd: (reason: FerryError) => void;
}

export class QmpSession {
  readonly address: QmpAddress;
  /** Resolves when the connection has ended, with the reason: QMP_INTERRUPTED, or QMP_PROTOCOL. Never rejects. */
  readonly closed: Promise<FerryError>;
  readonly #socket: Socket;
  readonly #handlers: SessionHandlers;
  readonly #splitter: MessageSplitter;
  readonly #pending: PendingCommands;
  readonly #greeting = Promise.withResolvers<QmpGreeting>();
  readonly #closed = Promise.withResolvers<FerryError>();
  /**
   * Ids are of this connection alone: when a client leaves while its command runs, QEMU sends the answer to whoever
   * is connected then.
   */
  readonly #idPrefix = randomBytes(6).toString('hex');
  #lastId = 0;
  #state: QmpState = 'connecting';
  #end: { readonly why: string; readonly reason: FerryError } | undefined;
  #oob = false;

  constructor(socket: Socket, address: QmpAddress, maxMessageBytes: number, handlers: SessionHandlers) {
    this.#socket = socket;
    this.address = address;
    this.#handlers = handlers;
    this.#splitter = new MessageSplitter(maxMessageBytes);
    this.#pending = new PendingCommands((line) => void socket.write(line));
    this.closed = this.#closed.promise;
    // Whoever waits for the greeting sees its failure; nobody has to.
    this.#greeting.promise.catch(() => undefined);
    socket.on('data', (chunk) => this.#receive(chunk));
    socket.on('error', (error) => this.#finish(messageOf(error), error));
    socket.on('close', () =>
      this.#finish(this.#splitter.inMessage ? 'closed by the peer inside a message' : 'closed by the peer'),
    );
  }

  get state(): QmpState {
    return this.#state;
  }

  /** Whether commands can be executed out of band. */
  get oob(): boolean {
    return this.#oob;
  }

  /** Waits for the greeting and negotiates. Rejects with QMP_PROTOCOL, QMP_COMMAND or QMP_INTERRUPTED. */
  async negotiate(wantOob: boolean): Promise<QmpGreeting> {
    const greeting = await this.#greeting.promise;
    const oob = wantOob && greeting.capabilities.includes('oob');
    await this.execute('qmp_capabilities', oob ? { enable: ['oob'] } : {}, {}, 'negotiating');
    this.#oob = oob;
    this.#state = 'ready';
    return greeting;
  }

  async execute(name: string, args: object, options: ExecuteOptions, state: QmpState = 'ready'): Promise<unknown> {
    options.signal?.throwIfAborted();
    const oob = options.oob ?? false;
    if (this.#end) throw this.#notSent(name);
    if (this.#state !== state) throw ferryError('INTERNAL', { what: `'${name}' while the monitor is ${this.#state}` });
    if (oob && !this.#oob) throw ferryError('QMP_NO_OOB', { command: name, address: formatQmpAddress(this.address) });
    this.#lastId += 1;
    const id = `${this.#idPrefix}-${this.#lastId}`;
    const message = { [oob ? 'exec-oob' : 'execute']: name, arguments: args, id };
    const { promise, resolve, reject } = Promise.withResolvers<unknown>();
    const command: Command = { id, name, message, line: `${formatExactJson(message)}\n`, oob, resolve, reject };
    this.#pending.submit(command);
    return await this.#limited(command, promise, options);
  }

  /** Waits for the answer no longer than the caller wants. The late answer of an abandoned command is dropped. */
  async #limited(command: Command, promise: Promise<unknown>, limits: ExecuteOptions): Promise<unknown> {
    const { name, message } = command;
    return await waitWithin(promise, limits, {
      onAbort: (reason) => {
        this.#pending.abandon(command);
        command.reject(reason);
      },
      onTimeout: (ms) => {
        const outcome = this.#pending.abandon(command) ? 'whether it ran is unknown' : 'it was not sent';
        command.reject(ferryError('QMP_TIMEOUT', { command: name, ms, outcome }, { details: { sent: message } }));
      },
    });
  }

  /** Ends the connection. Commands that were outstanding reject with QMP_INTERRUPTED. */
  close(why: string): void {
    this.#finish(why);
  }

  #receive(chunk: Buffer): void {
    try {
      for (const text of this.#splitter.push(chunk)) {
        if (this.#end) return;
        this.#dispatch(parseMessage(text));
      }
    } catch (error) {
      this.#finish(messageOf(error), error);
    }
  }

  #dispatch(message: QmpMessage): void {
    switch (message.kind) {
      case 'greeting':
        if (this.#state !== 'connecting') throw ferryError('QMP_PROTOCOL', { why: 'a second greeting' });
        this.#state = 'negotiating';
        return this.#greeting.resolve(message.greeting);
      case 'event':
        return this.#handlers.onEvent(message.event);
      case 'return':
      case 'error':
        return this.#answer(message);
    }
  }

  #answer(message: QmpMessage & { readonly kind: 'return' | 'error' }): void {
    if (message.id === undefined) {
      const said = message.kind === 'error' ? `an error without id: ${message.error.desc}` : 'an answer without id';
      throw ferryError('QMP_PROTOCOL', { why: said }, { details: { received: message.received } });
    }
    const command = this.#pending.answered(message.id);
    if (command === undefined) return;
    if (message.kind === 'return') return command.resolve(message.value);
    command.reject(
      ferryError(
        'QMP_COMMAND',
        { command: command.name, ...message.error },
        { details: { sent: command.message, received: message.received } },
      ),
    );
  }

  /** The one way into `closed`. `cause`: what went wrong, where something did. */
  #finish(why: string, cause?: unknown): void {
    if (this.#end) return;
    const reason = isFerryError(cause, 'QMP_PROTOCOL')
      ? cause
      : this.#interrupted(why, 'no answer and no event will come', cause);
    this.#end = { why, reason };
    this.#state = 'closed';
    this.#socket.destroy();
    const { sent, unsent } = this.#pending.drain();
    for (const command of sent)
      command.reject(this.#interrupted(why, `whether '${command.name}' ran is unknown`, cause, command.message));
    for (const command of unsent) command.reject(this.#notSent(command.name));
    this.#greeting.reject(reason);
    this.#handlers.onEnd(reason);
    this.#closed.resolve(reason);
  }

  #interrupted(why: string, outcome: string, cause: unknown, sent?: object): FerryError {
    return ferryError(
      'QMP_INTERRUPTED',
      { address: formatQmpAddress(this.address), why, outcome },
      { cause, ...(sent ? { details: { sent } } : {}) },
    );
  }

  #notSent(command: string): FerryError {
    return ferryError(
      'QMP_CLOSED',
      { address: formatQmpAddress(this.address), why: this.#end?.why ?? '', command },
      { cause: this.#end?.reason },
    );
  }
}
