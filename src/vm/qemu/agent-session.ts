import { randomInt } from 'node:crypto';
import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { EventQueue, ferryError, messageOf } from '../../base/index.ts';

/** What the agent answers to a command. */
export type AgentAnswer =
  | { readonly return: unknown }
  | { readonly error: { readonly class: string; readonly desc: string } };

/** No byte of UTF-8: what was sent before it is forgotten, what comes after it is the answer that is waited for. */
const SENTINEL = '\xff';

/**
 * A connection to the agent in a guest, over the socket of its port. The agent serves one command at a time, and knows nothing of
 * connections: what somebody else was not there any more to read may come first. So each session begins with
 * `guest-sync-delimited`.
 */
export class AgentSession implements Disposable {
  readonly #socket: Socket;
  readonly #lines: EventQueue<string>;
  #partial = '';

  private constructor(socket: Socket, vm: string) {
    this.#socket = socket;
    this.#lines = new EventQueue('an answer of the guest agent', () => undefined);
    socket.setEncoding('latin1').on('data', (piece: string) => this.#take(piece));
    const end = (error?: unknown): void => {
      const reason = error === undefined ? 'its socket was closed' : messageOf(error);
      this.#lines.end(ferryError('AGENT_UNRESPONSIVE', { vm, reason }));
    };
    socket.on('error', end).on('close', () => end());
  }

  /**
   * Connects, and waits until the agent answers.
   * @throws the signal's reason when it does not; what connect(2) says
   */
  static async open(path: string, vm: string, limit: AbortSignal): Promise<AgentSession> {
    const socket = connect(path);
    const session = new AgentSession(socket, vm);
    try {
      await once(socket, 'connect', { signal: limit });
      await session.#answered(session.#sync(), limit);
      return session;
    } catch (error) {
      session[Symbol.dispose]();
      throw limit.aborted ? limit.reason : error;
    }
  }

  /** @throws the signal's reason; FerryError AGENT_UNRESPONSIVE when the connection ends. It may be done later all the same */
  async execute(command: string, limit: AbortSignal): Promise<AgentAnswer> {
    this.#send({ execute: command });
    return await this.#next(limit);
  }

  /**
   * The same for an agent that may be busy with a command that was sent before, whose answer nobody waits for: it does this one
   * next. While nobody is connected an agent stands still at its answer, so that one that is left does it when somebody comes.
   */
  async executeNext(command: string, limit: AbortSignal): Promise<AgentAnswer> {
    const id = this.#sync();
    this.#send({ execute: command });
    await this.#answered(id, limit);
    return await this.#next(limit);
  }

  [Symbol.dispose](): void {
    this.#socket.destroy();
    this.#lines[Symbol.dispose]();
  }

  #send(command: object): void {
    this.#socket.write(`${JSON.stringify(command)}\n`);
  }

  /** @returns what its answer returns */
  #sync(): number {
    const id = randomInt(2 ** 31);
    this.#socket.write(SENTINEL, 'latin1');
    this.#send({ execute: 'guest-sync-delimited', arguments: { id } });
    return id;
  }

  async #answered(id: number, limit: AbortSignal): Promise<void> {
    for (;;) {
      const line = await this.#lines.next({ signal: limit });
      const at = line.lastIndexOf(SENTINEL);
      if (at < 0) continue;
      const answer = answerOf(line.slice(at + 1));
      if ('return' in answer && answer.return === id) return;
    }
  }

  async #next(limit: AbortSignal): Promise<AgentAnswer> {
    return answerOf(await this.#lines.next({ signal: limit }));
  }

  #take(piece: string): void {
    const lines = (this.#partial + piece).split('\n');
    this.#partial = lines.pop() ?? '';
    for (const line of lines) this.#lines.offer(line);
  }
}

/** @param line as it came, a byte in each character */
function answerOf(line: string): AgentAnswer {
  return JSON.parse(Buffer.from(line, 'latin1').toString()) as AgentAnswer;
}
