/**
 * One connection to a libvirtd, without the vocabulary of its calls: serials, replies, events, keepalive, and its end.
 *
 *     connected --authenticate--> authenticated --open--> ready --end--> closed
 *
 * Any state goes to `closed` when the connection ends, for whatever reason; that happens once, in `#finish`, which
 * rejects all that waits. So nothing ever hangs on a connection that is gone.
 */
import type { Duplex } from 'node:stream';
import { type FerryError, ferryError, isFerryError, messageOf, waitWithin } from '../base/index.ts';
import type { Dialed } from './dial/dial.ts';
import { KeepAlive, type KeepAliveOptions } from './keepalive.ts';
import { type Call, PendingCalls } from './pending-calls.ts';
import { parseRemoteError } from './protocol/remote-error.ts';
import { type Frame, frameBytes, PROGRAM, parseFrame, STATUS, TYPE } from './wire/frame.ts';
import { FrameSplitter } from './wire/frame-splitter.ts';

/** `connected` until libvirtd has accepted who we are, `authenticated` until it has opened the driver. */
export type LibvirtState = 'connected' | 'authenticated' | 'ready' | 'closed';

export interface CallOptions {
  /** Stops waiting: the call rejects with the signal's reason at once, whatever libvirtd does with it. */
  readonly signal?: AbortSignal;
  /** Milliseconds to wait for the reply. Default: no limit, as a call may wait for I/O of the VM. */
  readonly timeoutMs?: number;
}

export interface SessionHandlers {
  readonly onEvent: (procedure: number, payload: Uint8Array) => void;
  readonly onEnd: (reason: FerryError) => void;
}

/** A call as it goes over the wire. */
export interface RawCall {
  readonly name: string;
  readonly program: number;
  readonly procedure: number;
  readonly payload: Uint8Array;
  /** For errors: what was sent. */
  readonly args: object;
}

export class LibvirtSession {
  /** The URI, or the socket. */
  readonly address: string;
  /** Resolves when the connection has ended, with the reason: LIBVIRT_INTERRUPTED, or LIBVIRT_PROTOCOL. Never rejects. */
  readonly closed: Promise<FerryError>;
  /** How far the connection is. Set by the client, but for `closed`. */
  state: LibvirtState = 'connected';
  readonly #stream: Duplex;
  readonly #said: () => string;
  readonly #handlers: SessionHandlers;
  readonly #splitter = new FrameSplitter();
  readonly #pending: PendingCalls;
  readonly #keepAlive: KeepAlive;
  readonly #closed = Promise.withResolvers<FerryError>();
  #lastSerial = 0;
  #end: { readonly why: string; readonly reason: FerryError } | undefined;

  constructor({ stream, said }: Dialed, address: string, keepAlive: KeepAliveOptions, handlers: SessionHandlers) {
    this.#stream = stream;
    this.#said = said;
    this.address = address;
    this.#handlers = handlers;
    this.closed = this.#closed.promise;
    this.#pending = new PendingCalls((bytes) => void stream.write(bytes));
    this.#keepAlive = new KeepAlive(keepAlive, {
      send: (bytes) => void stream.write(bytes),
      onDead: (why) => this.#finish(why),
    });
    stream.on('data', (chunk: Buffer) => this.#receive(chunk));
    stream.on('error', (error) => this.#finish(messageOf(error), error));
    stream.on('close', () =>
      this.#finish(this.#splitter.inMessage ? 'closed by the peer inside a message' : 'closed by the peer'),
    );
    stream.on('end', () => stream.destroy());
  }

  /** Sends a call and returns the payload of the reply. Errors as `LibvirtClient.call`. */
  async call(call: RawCall, options: CallOptions): Promise<Uint8Array> {
    options.signal?.throwIfAborted();
    if (this.#end) throw this.#notSent(call.name);
    this.#lastSerial += 1;
    const serial = this.#lastSerial;
    const { promise, resolve, reject } = Promise.withResolvers<Uint8Array>();
    const refuse = (reason: unknown): void => reject(withArguments(reason, call));
    const bytes = frameBytes({ ...call, type: TYPE.call, serial });
    const waiting: Call = { name: call.name, serial, bytes, resolve, reject: refuse };
    this.#pending.submit(waiting);
    return await this.#limited(waiting, promise, options);
  }

  /** Waits for the reply no longer than the caller wants. The late reply of an abandoned call is dropped. */
  async #limited(call: Call, promise: Promise<Uint8Array>, limits: CallOptions): Promise<Uint8Array> {
    return await waitWithin(promise, limits, {
      onAbort: (reason) => {
        this.#pending.abandon(call);
        call.reject(reason);
      },
      onTimeout: (ms) => {
        const outcome = this.#pending.abandon(call) ? 'whether it was carried out is unknown' : 'it was not sent';
        call.reject(ferryError('LIBVIRT_TIMEOUT', { call: call.name, ms, outcome }));
      },
    });
  }

  /** Ends the connection. Calls that were outstanding reject with LIBVIRT_INTERRUPTED. */
  close(why: string): void {
    this.#finish(why);
  }

  #receive(chunk: Buffer): void {
    this.#keepAlive.heard();
    try {
      for (const bytes of this.#splitter.push(chunk)) {
        if (this.#end) return;
        this.#dispatch(parseFrame(bytes));
      }
    } catch (error) {
      this.#finish(messageOf(error), error);
    }
  }

  #dispatch(frame: Frame): void {
    if (frame.program === PROGRAM.keepalive) return this.#keepAlive.received(frame.procedure);
    switch (frame.type) {
      case TYPE.reply:
        return this.#answer(frame);
      case TYPE.event:
        // Events of other programs (`qemu` has monitor events) are nothing that was asked for.
        if (frame.program === PROGRAM.remote) this.#handlers.onEvent(frame.procedure, frame.payload);
        return undefined;
      default:
        throw ferryError('LIBVIRT_PROTOCOL', { why: `a message of type ${frame.type}, which was not asked for` });
    }
  }

  #answer({ serial, status, payload }: Frame): void {
    if (serial === 0 || serial > this.#lastSerial) {
      throw ferryError('LIBVIRT_PROTOCOL', { why: `a reply to call ${serial}, which was never sent` });
    }
    const call = this.#pending.answered(serial);
    if (call === undefined) return undefined;
    if (status === STATUS.ok) return call.resolve(payload);
    call.reject(refusal(call.name, payload));
  }

  /** The one way into `closed`. `cause`: what went wrong, where something did. */
  #finish(why: string, cause?: unknown): void {
    if (this.#end) return;
    const said = this.#said();
    const all = said === '' ? why : `${why}; ${said}`;
    const reason = isFerryError(cause, 'LIBVIRT_PROTOCOL', 'TOOL_MISSING')
      ? cause
      : this.#interrupted(all, 'no reply and no event will come', cause);
    this.#end = { why: all, reason };
    this.state = 'closed';
    this.#keepAlive.stop();
    this.#stream.destroy();
    const { sent, unsent } = this.#pending.drain();
    for (const { name, reject } of sent) {
      reject(this.#interrupted(all, `whether '${name}' was carried out is unknown`, cause));
    }
    for (const { name, reject } of unsent) reject(this.#notSent(name));
    this.#handlers.onEnd(reason);
    this.#closed.resolve(reason);
  }

  #interrupted(why: string, outcome: string, cause: unknown): FerryError {
    return ferryError('LIBVIRT_INTERRUPTED', { address: this.address, why, outcome }, { cause });
  }

  #notSent(call: string): FerryError {
    const fields = { address: this.address, why: this.#end?.why ?? '', call };
    return ferryError('LIBVIRT_CLOSED', fields, { cause: this.#end?.reason });
  }
}

/** libvirt's own error. */
function refusal(call: string, payload: Uint8Array): FerryError {
  try {
    const { code, domain, level, message } = parseRemoteError(payload);
    return ferryError('LIBVIRT_ERROR', { call, message: message ?? 'no message', code, domain, level });
  } catch (error) {
    return ferryError('LIBVIRT_PROTOCOL', { why: `an error that cannot be read, to '${call}'` }, { cause: error });
  }
}

/** The same error with what was sent in its details. */
function withArguments(error: unknown, { name, args }: RawCall): unknown {
  if (!isFerryError(error)) return error;
  const details = { ...error.details, sent: { call: name, args } };
  return Object.assign(ferryError(error.code, error.fields as never, { cause: error.cause, details }), {
    stack: error.stack,
  });
}
