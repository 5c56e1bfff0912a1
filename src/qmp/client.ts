import type { Socket } from 'node:net';
import { EventQueue, type FerryError, ferryError, messageOf } from '../base/index.ts';
import { formatQmpAddress, type QmpAddress } from './address.ts';
import type { CommandName, Commands, EventName, QmpEvent } from './commands.ts';
import { dial } from './dial.ts';
import type { Empty } from './generated/commands.ts';
import type { QmpGreeting } from './message.ts';
import { type ExecuteOptions, QmpSession, type QmpState } from './session.ts';

/** How long a monitor may take to accept, greet and negotiate. A healthy one takes a millisecond. */
const CONNECT_TIMEOUT_MS = 10_000;
/** libvirt takes 10 MiB; `query-named-block-nodes` of a VM with very many images gets past that. */
const MAX_MESSAGE_BYTES = 64 * 2 ** 20;

export interface ConnectOptions {
  /** Stops connecting; the call rejects with the signal's reason. It has no effect afterwards. */
  readonly signal?: AbortSignal;
  /** Milliseconds for the connection, the greeting and the negotiation together. Default 10 000. */
  readonly connectTimeoutMs?: number;
  /** The most bytes that one message may have; a longer one ends the session. Default 64 MiB. */
  readonly maxMessageBytes?: number;
  /** Enable out-of-band execution where the monitor offers it. Default true. */
  readonly oob?: boolean;
}

/** The arguments of `execute` after the command's name: `{}` or nothing where all are optional. */
export type ExecuteParameters<C extends CommandName> = Empty extends Commands[C]['arguments']
  ? [args?: Commands[C]['arguments'], options?: ExecuteOptions]
  : [args: Commands[C]['arguments'], options?: ExecuteOptions];

/** The events of one `listen`. */
export type QmpEventQueue<E extends QmpEvent = QmpEvent> = EventQueue<E>;

/**
 * One QMP monitor: of the system emulator, or of qemu-storage-daemon, which has fewer commands.
 *
 *     await using client = await QmpClient.connect({ path: '/run/vm/qmp.sock' });
 *     using ready = client.listen(['BLOCK_JOB_READY']);
 *     await client.execute('blockdev-mirror', { 'job-id': 'm0', device: 'src', target: 'dst', sync: 'top' });
 *     await ready.next();
 */
export class QmpClient {
  readonly greeting: QmpGreeting;
  readonly #session: QmpSession;
  readonly #queues: Set<Listener>;

  private constructor(session: QmpSession, greeting: QmpGreeting, queues: Set<Listener>) {
    this.#session = session;
    this.greeting = greeting;
    this.#queues = queues;
  }

  /**
   * Connects, waits for the greeting and negotiates.
   * @throws FerryError QMP_NO_SOCKET, QMP_REFUSED, QMP_DENIED, QMP_CONNECT; QMP_BUSY when no greeting comes in time;
   *   QMP_PROTOCOL when it is no QMP monitor; QMP_INTERRUPTED when the peer closes; the signal's reason
   */
  static async connect(address: QmpAddress, options: ConnectOptions = {}): Promise<QmpClient> {
    options.signal?.throwIfAborted();
    const limitMs = options.connectTimeoutMs ?? CONNECT_TIMEOUT_MS;
    const limit = new AbortController();
    let connected = false;
    const timer = setTimeout(() => limit.abort(silent(address, limitMs, connected)), limitMs);
    const onAbort = (): void => limit.abort(options.signal?.reason);
    options.signal?.addEventListener('abort', onAbort, { once: true });
    try {
      const socket = await dial(address, limit.signal);
      connected = true;
      return await QmpClient.#open(socket, address, limit.signal, options);
    } catch (error) {
      throw limit.signal.aborted ? limit.signal.reason : error;
    } finally {
      clearTimeout(timer);
      options.signal?.removeEventListener('abort', onAbort);
    }
  }

  static async #open(
    socket: Socket,
    address: QmpAddress,
    limit: AbortSignal,
    options: ConnectOptions,
  ): Promise<QmpClient> {
    const queues = new Set<Listener>();
    const session = new QmpSession(socket, address, options.maxMessageBytes ?? MAX_MESSAGE_BYTES, {
      onEvent: (event) => {
        for (const queue of queues) queue.offer(event as QmpEvent);
      },
      onEnd: (reason) => {
        for (const queue of queues) queue.end(reason);
        queues.clear();
      },
    });
    const giveUp = (): void => session.close('given up while connecting');
    limit.addEventListener('abort', giveUp, { once: true });
    try {
      return new QmpClient(session, await session.negotiate(options.oob ?? true), queues);
    } catch (error) {
      giveUp();
      throw error;
    }
  }

  get address(): QmpAddress {
    return this.#session.address;
  }

  get state(): QmpState {
    return this.#session.state;
  }

  /** Whether commands can be executed out of band. */
  get oob(): boolean {
    return this.#session.oob;
  }

  /** Resolves when the connection has ended, with the reason: QMP_INTERRUPTED or QMP_PROTOCOL. Never rejects. */
  get closed(): Promise<FerryError> {
    return this.#session.closed;
  }

  /**
   * Executes a command and returns what QEMU answers. Many can be under way; QEMU executes them in the order of the
   * calls.
   * @throws FerryError QMP_COMMAND: QEMU refused. QMP_INTERRUPTED: the connection ended, and whether it ran is unknown.
   *   QMP_CLOSED: the connection was gone before it was sent. QMP_TIMEOUT after `timeoutMs`. QMP_NO_OOB, QMP_ARGUMENT.
   *   The signal's reason when aborted; QEMU may still execute it.
   */
  async execute<C extends CommandName>(
    command: C,
    ...[args, options]: ExecuteParameters<C>
  ): Promise<Commands[C]['returns']> {
    return await this.#session.execute(command, args ?? {}, options ?? {});
  }

  /** Executes a command that the types do not hold. Throws as `execute`. */
  async executeRaw(command: string, args: object = {}, options: ExecuteOptions = {}): Promise<unknown> {
    return await this.#session.execute(command, args, options);
  }

  /**
   * Opens a queue of the events with these names, or that pass this filter, from now on. Open it before the command
   * that causes the event, and dispose it (`using`) when it is no longer read.
   * @throws FerryError QMP_CLOSED when the connection has ended
   */
  listen<N extends EventName>(filter: readonly N[]): QmpEventQueue<Extract<QmpEvent, { readonly event: N }>>;
  listen(filter: (event: QmpEvent) => boolean): QmpEventQueue;
  listen(filter: readonly EventName[] | ((event: QmpEvent) => boolean)): QmpEventQueue {
    const command = typeof filter === 'function' ? 'events' : filter.join(', ');
    if (this.state === 'closed') {
      throw ferryError('QMP_CLOSED', { address: formatQmpAddress(this.address), why: 'it ended before', command });
    }
    const accept = typeof filter === 'function' ? filter : (event: QmpEvent) => filter.includes(event.event);
    const queue: QmpEventQueue = new EventQueue(command, () => void this.#queues.delete(listener));
    const listener: Listener = {
      offer: (event) => {
        try {
          if (accept(event)) queue.offer(event);
        } catch (error) {
          // A filter that throws ends its own queue, not the session of everybody.
          queue.end(ferryError('INTERNAL', { what: `an event filter threw: ${messageOf(error)}` }, { cause: error }));
        }
      },
      end: (reason) => queue.end(reason),
    };
    this.#queues.add(listener);
    return queue;
  }

  /** Ends the connection; the VM goes on. Commands that are outstanding reject with QMP_INTERRUPTED. */
  close(): void {
    this.#session.close('closed by this side');
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.close();
    await this.#session.closed;
  }
}

interface Listener {
  readonly offer: (event: QmpEvent) => void;
  readonly end: (reason: FerryError) => void;
}

/** The monitor did not take the connection, or let it wait in the kernel's queue and said nothing. */
function silent(address: QmpAddress, ms: number, connected: boolean): FerryError {
  const why = connected
    ? `nothing came within ${ms} ms; another client holds it, or QEMU hangs`
    : `no connection within ${ms} ms; the host does not answer, or other clients wait for the monitor already`;
  return ferryError('QMP_BUSY', { address: formatQmpAddress(address), why });
}
