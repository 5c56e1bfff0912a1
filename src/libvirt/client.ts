import { EventQueue, type FerryError, ferryError, messageOf } from '../base/index.ts';
import { dial } from './dial/dial.ts';
import type { KeepAliveOptions } from './keepalive.ts';
import { DOMAIN_EVENTS } from './protocol/events.ts';
import { QEMU_CALLS, REMOTE_CALLS } from './protocol/procedures.ts';
import { structure, type ValuesOf } from './protocol/types.ts';
import { type CallOptions, LibvirtSession, type LibvirtState } from './session.ts';
import { type LibvirtUri, parseLibvirtUri } from './uri.ts';
import { PROGRAM } from './wire/frame.ts';

/** How long a libvirtd may take to accept and to open its driver. The first client of a fresh one waits for its probes. */
const CONNECT_TIMEOUT_MS = 60_000;
/** As virsh has it: given up after half a minute of silence. */
const KEEPALIVE: KeepAliveOptions = { intervalMs: 5000, count: 6 };
/** `VIR_DRV_FEATURE_PROGRAM_KEEPALIVE`: asking for it lets libvirtd begin with its own questions. */
const FEATURE_KEEPALIVE = 10;
/** `REMOTE_AUTH_…`. */
const AUTH_NONE = 0;
const AUTH_POLKIT = 2;

type Calls = typeof REMOTE_CALLS & typeof QEMU_CALLS;
const CALLS: Calls = { ...REMOTE_CALLS, ...QEMU_CALLS };

/** The names of the calls: libvirt's own, without `REMOTE_PROC_`. */
export type CallName = keyof Calls;
/** What a call returns. */
export type CallReturns<C extends CallName> = ValuesOf<Calls[C][2]>;
type Given<A> = 'flags' extends keyof A ? Omit<A, 'flags'> & { readonly flags?: number } : A;
/** What a call takes; `flags` may be left out where they are 0. */
export type CallArguments<C extends CallName> = Given<ValuesOf<Calls[C][1]>>;
/** The parameters of `call` after the name: nothing where there are no fields that must be given. */
export type CallParameters<C extends CallName> =
  object extends CallArguments<C>
    ? [args?: CallArguments<C>, options?: CallOptions]
    : [args: CallArguments<C>, options?: CallOptions];

export type DomainEventName = keyof typeof DOMAIN_EVENTS;
/** An event of one name, or of any. `name` is the table's; the other fields are libvirt's. */
export type DomainEvent<N extends DomainEventName = DomainEventName> = {
  readonly [name in N]: { readonly name: name } & ValuesOf<(typeof DOMAIN_EVENTS)[name]['message']>;
}[N];

const EVENT_OF_PROCEDURE: ReadonlyMap<number, DomainEventName> = new Map(
  Object.entries(DOMAIN_EVENTS).map(([name, { procedure }]) => [procedure, name as DomainEventName]),
);

export interface LibvirtConnectOptions {
  /** Stops connecting; the call rejects with the signal's reason. It has no effect afterwards. */
  readonly signal?: AbortSignal;
  /** Milliseconds for the connection, the authentication and the opening together. Default 60 000. */
  readonly connectTimeoutMs?: number;
  /** Opens read-only. Default false. */
  readonly readOnly?: boolean;
  /** When a libvirtd that is silent is given up. Default: after 6 questions, 5 seconds apart. */
  readonly keepAlive?: KeepAliveOptions;
}

interface Listener {
  readonly offer: (event: DomainEvent) => void;
  readonly end: (reason: FerryError) => void;
}

/**
 * One connection to a libvirtd, with its driver opened.
 *
 *     await using client = await LibvirtClient.connect('qemu:///system');
 *     const { dom } = await client.call('DOMAIN_LOOKUP_BY_NAME', { name: 'web' });
 *     using jobs = await client.listen(['BLOCK_JOB_2'], (event) => event.dom.uuid === dom.uuid);
 *     await client.call('DOMAIN_BLOCK_COMMIT', { dom, disk: 'vda', base: null, top: null, bandwidth: 0n });
 *     await jobs.next();
 */
export class LibvirtClient {
  readonly uri: LibvirtUri;
  readonly #session: LibvirtSession;
  readonly #queues: Set<Listener>;
  /** The events that libvirtd was asked for. They stay asked for: a queue that comes later misses nothing. */
  readonly #registered = new Map<DomainEventName, Promise<unknown>>();

  private constructor(session: LibvirtSession, uri: LibvirtUri, queues: Set<Listener>) {
    this.#session = session;
    this.uri = uri;
    this.#queues = queues;
  }

  /**
   * Connects, authenticates and opens the driver that the URI names (`qemu:///system`, `qemu+ssh://host/system`,
   * `test:///default`). Authentication is what libvirtd asks for: none, or polkit; SASL is not supported.
   * @throws FerryError LIBVIRT_URI, LIBVIRT_NO_SOCKET, LIBVIRT_REFUSED, LIBVIRT_DENIED, LIBVIRT_CONNECT; LIBVIRT_AUTH;
   *   LIBVIRT_SILENT when it takes too long; LIBVIRT_PROTOCOL when it is no libvirtd; LIBVIRT_ERROR when the driver cannot
   *   be opened; LIBVIRT_INTERRUPTED when the peer closes; the signal's reason
   */
  static async connect(uri: string, options: LibvirtConnectOptions = {}): Promise<LibvirtClient> {
    const parsed = parseLibvirtUri(uri);
    options.signal?.throwIfAborted();
    const ms = options.connectTimeoutMs ?? CONNECT_TIMEOUT_MS;
    const limit = new AbortController();
    const timer = setTimeout(() => limit.abort(ferryError('LIBVIRT_SILENT', { address: uri, ms })), ms);
    const onAbort = (): void => limit.abort(options.signal?.reason);
    options.signal?.addEventListener('abort', onAbort, { once: true });
    try {
      return await LibvirtClient.#open(parsed, limit.signal, options);
    } catch (error) {
      throw limit.signal.aborted ? limit.signal.reason : error;
    } finally {
      clearTimeout(timer);
      options.signal?.removeEventListener('abort', onAbort);
    }
  }

  static async #open(uri: LibvirtUri, limit: AbortSignal, options: LibvirtConnectOptions): Promise<LibvirtClient> {
    const queues = new Set<Listener>();
    const dialed = await dial(uri, limit);
    const session = new LibvirtSession(dialed, uri.text, options.keepAlive ?? KEEPALIVE, {
      onEvent: (procedure, payload) => {
        const event = decodeEvent(procedure, payload);
        if (event) for (const queue of queues) queue.offer(event);
      },
      onEnd: (reason) => {
        for (const queue of queues) queue.end(reason);
        queues.clear();
      },
    });
    const giveUp = (): void => session.close('given up while connecting');
    limit.addEventListener('abort', giveUp, { once: true });
    try {
      const client = new LibvirtClient(session, uri, queues);
      await client.#authenticate();
      session.state = 'authenticated';
      await client.#call('CONNECT_SUPPORTS_FEATURE', { feature: FEATURE_KEEPALIVE }, {});
      await client.#call('CONNECT_OPEN', { name: uri.remoteName, flags: options.readOnly === true ? 1 : 0 }, {});
      session.state = 'ready';
      return client;
    } catch (error) {
      giveUp();
      throw error;
    } finally {
      limit.removeEventListener('abort', giveUp);
    }
  }

  async #authenticate(): Promise<void> {
    const { types } = await this.#call('AUTH_LIST', {}, {});
    const [wanted] = types;
    if (wanted === undefined || wanted === AUTH_NONE) return;
    if (wanted === AUTH_POLKIT) {
      try {
        await this.#call('AUTH_POLKIT', {}, {});
      } catch (error) {
        throw ferryError('LIBVIRT_AUTH', { address: this.uri.text, why: messageOf(error) }, { cause: error });
      }
      return;
    }
    throw ferryError('LIBVIRT_AUTH', { address: this.uri.text, why: 'it asks for SASL, which is not supported' });
  }

  get state(): LibvirtState {
    return this.#session.state;
  }

  /** Resolves when the connection has ended, with the reason: LIBVIRT_INTERRUPTED or LIBVIRT_PROTOCOL. Never rejects. */
  get closed(): Promise<FerryError> {
    return this.#session.closed;
  }

  /**
   * Calls libvirtd and returns what it answers. Many calls can be under way; they are sent in their order, and libvirtd
   * may carry them out in another, or at once.
   * @throws FerryError LIBVIRT_ERROR: libvirt refused, with its code, domain, level and message. LIBVIRT_INTERRUPTED: the
   *   connection ended, and whether the call was carried out is unknown. LIBVIRT_CLOSED: the connection was gone before
   *   it was sent. LIBVIRT_TIMEOUT after `timeoutMs`. LIBVIRT_ARGUMENT: nothing was sent. LIBVIRT_PROTOCOL: the answer
   *   cannot be read. The signal's reason when aborted; libvirtd may still carry it out.
   */
  async call<C extends CallName>(name: C, ...[args, options]: CallParameters<C>): Promise<CallReturns<C>> {
    return await this.#call(name, args ?? {}, options ?? {});
  }

  async #call<C extends CallName>(name: C, args: object, options: CallOptions): Promise<CallReturns<C>> {
    const [procedure, fields, returned] = CALLS[name];
    const program = name in QEMU_CALLS ? PROGRAM.qemu : PROGRAM.remote;
    const payload = encode(name, fields, args);
    const reply = await this.#session.call({ name, program, procedure, payload, args }, options);
    try {
      return structure(returned).decode(reply) as CallReturns<C>;
    } catch (error) {
      const why = `the reply to '${name}' cannot be read: ${messageOf(error)}`;
      throw ferryError('LIBVIRT_PROTOCOL', { why }, { cause: error });
    }
  }

  /**
   * Opens a queue of the events with these names, of all domains or of those that pass the filter, from now on. Open it
   * before the call that causes the event, and dispose it (`using`) when it is no longer read.
   * @throws FerryError as `call`
   */
  async listen<N extends DomainEventName>(
    names: readonly N[],
    filter: (event: DomainEvent<N>) => boolean = () => true,
  ): Promise<EventQueue<DomainEvent<N>>> {
    const label = names.join(', ');
    const queue = new EventQueue<DomainEvent<N>>(label, () => void this.#queues.delete(listener));
    const listener: Listener = {
      offer: (event) => {
        if (!(names as readonly string[]).includes(event.name)) return;
        try {
          if (filter(event as DomainEvent<N>)) queue.offer(event as DomainEvent<N>);
        } catch (error) {
          // A filter that throws ends its own queue, not the session of everybody.
          queue.end(ferryError('INTERNAL', { what: `an event filter threw: ${messageOf(error)}` }, { cause: error }));
        }
      },
      end: (reason) => queue.end(reason),
    };
    this.#queues.add(listener);
    try {
      await Promise.all(names.map(async (name) => await this.#register(name)));
      return queue;
    } catch (error) {
      queue[Symbol.dispose]();
      throw error;
    }
  }

  /** Asks libvirtd for the events of one name, once for the connection. */
  async #register(name: DomainEventName): Promise<void> {
    const asked =
      this.#registered.get(name) ??
      this.#call('CONNECT_DOMAIN_EVENT_CALLBACK_REGISTER_ANY', { eventID: DOMAIN_EVENTS[name].id, dom: null }, {});
    this.#registered.set(name, asked);
    try {
      await asked;
    } catch (error) {
      this.#registered.delete(name);
      throw error;
    }
  }

  /** Ends the connection; the VMs go on. Calls that are outstanding reject with LIBVIRT_INTERRUPTED. */
  close(): void {
    this.#session.close('closed by this side');
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.close();
    await this.#session.closed;
  }
}

function encode(name: CallName, fields: Readonly<Record<string, string>>, args: object): Uint8Array {
  try {
    return structure(fields).encode('flags' in fields ? { flags: 0, ...args } : { ...args });
  } catch (error) {
    throw ferryError('LIBVIRT_ARGUMENT', { call: name, why: messageOf(error) }, { cause: error });
  }
}

/** An event that is not in the table was not asked for. */
function decodeEvent(procedure: number, payload: Uint8Array): DomainEvent | undefined {
  const name = EVENT_OF_PROCEDURE.get(procedure);
  if (name === undefined) return undefined;
  return { name, ...structure(DOMAIN_EVENTS[name].message).decode(payload) } as DomainEvent;
}
