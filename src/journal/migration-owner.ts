import { chmodSync } from 'node:fs';
import { createServer, type Server, type Socket } from 'node:net';
import { type Clock, ferryError, messageOf, systemClock } from '../base/index.ts';
import { connectOwner, ControlFolder } from './control-folder.ts';
import {
  type Answer,
  answerLine,
  type ControlRequest,
  errorOf,
  type Question,
  questionLine,
  receive,
} from './control-line.ts';

/** Does what an asker wants; what it returns (as JSON) or throws goes back to the asker. */
export type ControlHandler = (request: ControlRequest) => Promise<unknown>;

/**
 * The right of this process to drive a migration: it listens on the migration's control socket. Whoever can connect
 * knows that the owner lives; the kernel closes the socket when the owner dies, however it dies.
 */
export class MigrationOwner implements AsyncDisposable {
  readonly id: string;
  readonly #folder: ControlFolder;
  readonly #server: Server;
  readonly #handler: ControlHandler;
  /** Connections that have not asked yet. */
  readonly #idle: Set<Socket> = new Set();

  private constructor(id: string, folder: ControlFolder, handler: ControlHandler) {
    this.id = id;
    this.#folder = folder;
    this.#handler = handler;
    this.#server = createServer((socket) => void this.#serve(socket));
  }

  /**
   * Becomes the owner of a migration, unless another process (or this one) is; then undefined. Of several who claim at
   * once exactly one succeeds.
   * @throws FerryError CONTROL_SOCKET, JOURNAL_UNAVAILABLE, JOURNAL_UNSAFE
   */
  static async claim(
    stateDir: string,
    id: string,
    handler: ControlHandler,
    clock: Clock = systemClock,
  ): Promise<MigrationOwner | undefined> {
    const folder = ControlFolder.make(stateDir);
    const owner = new MigrationOwner(id, folder, handler);
    let won = false;
    try {
      const lock = await folder.lock(id, clock);
      try {
        won = await owner.#takeOver(clock);
      } finally {
        lock[Symbol.dispose]();
      }
    } finally {
      if (!won) {
        owner.#server.close();
        folder[Symbol.dispose]();
      }
    }
    return won ? owner : undefined;
  }

  /**
   * Gives the migration up: from here on nobody can ask, and anybody can claim. Requests under way still get their answers.
   */
  release(): Promise<void> {
    if (!this.#server.listening) return Promise.resolve();
    // Node removes the socket file and then closes the socket, both within this call, so that no new owner's file is
    // removed; the folder's descriptor, through which the file is named, must live until then.
    this.#server.close();
    this.#folder[Symbol.dispose]();
    for (const socket of this.#idle) socket.destroy();
    return Promise.resolve();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.release();
  }

  /** Binds the socket unless somebody listens on it. Only under the claim lock. */
  async #takeOver(clock: Clock): Promise<boolean> {
    const living = await connectOwner(this.#folder, this.id, clock);
    if (living) {
      living.destroy();
      return false;
    }
    this.#folder.removeSocket(this.id);
    await this.#listen();
    chmodSync(this.#folder.address(this.id), 0o600);
    return true;
  }

  #listen(): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#server.once('error', (error) => {
        reject(ferryError('CONTROL_SOCKET', { id: this.id, reason: messageOf(error) }, { cause: error }));
      });
      this.#server.listen(this.#folder.address(this.id), resolve);
    });
  }

  async #serve(socket: Socket): Promise<void> {
    this.#idle.add(socket);
    const question = (await receive(socket)) as Question | undefined;
    this.#idle.delete(socket);
    if (question?.ask === 'pid') socket.end(await answerLine(() => Promise.resolve()));
    else if (question?.ask === 'request') socket.end(await answerLine(() => this.#handler(question.request)));
    else socket.destroy();
  }
}

export interface AskOptions {
  /** Ends the waiting; what was asked for may be done all the same. */
  readonly signal?: AbortSignal;
  readonly clock?: Clock;
}

/**
 * Asks the owner of a migration for something, and waits for its answer as long as that takes. Undefined when nobody owns
 * it; an owner that answers with nothing answers null.
 * @throws FerryError what the owner's handler threw; OWNER_LOST, CONTROL_SOCKET; the signal's reason
 */
export async function askOwner(
  stateDir: string,
  id: string,
  request: ControlRequest,
  options: AskOptions = {},
): Promise<unknown> {
  const answer = await ask(stateDir, id, { ask: 'request', request }, options);
  if (answer && 'error' in answer) throw errorOf(answer.error);
  return answer?.value;
}

/**
 * The process id of the owner, as it says itself; undefined when nobody owns the migration.
 * @throws FerryError OWNER_LOST, CONTROL_SOCKET; the signal's reason
 */
export async function ownerPid(stateDir: string, id: string, options: AskOptions = {}): Promise<number | undefined> {
  return (await ask(stateDir, id, { ask: 'pid' }, options))?.pid;
}

/**
 * Removes the socket files of owners that died after the end of their migration: nobody claims those any more.
 * @throws FerryError CONTROL_SOCKET, JOURNAL_UNAVAILABLE
 */
export async function removeDeadSockets(stateDir: string, clock: Clock = systemClock): Promise<void> {
  using folder = ControlFolder.find(stateDir);
  for (const id of folder?.ids() ?? []) {
    using _ = await folder?.lock(id, clock);
    const living = folder && (await connectOwner(folder, id, clock));
    if (living) living.destroy();
    else folder?.removeSocket(id);
  }
}

async function ask(
  stateDir: string,
  id: string,
  question: Question,
  { signal, clock = systemClock }: AskOptions,
): Promise<Answer | undefined> {
  const line = questionLine(question);
  using folder = ControlFolder.find(stateDir);
  const socket = folder && (await connectOwner(folder, id, clock, signal));
  if (!socket) return undefined;
  const stop = (): void => void socket.destroy();
  signal?.addEventListener('abort', stop, { once: true });
  try {
    socket.write(line);
    const answer = (await receive(socket)) as Answer | undefined;
    signal?.throwIfAborted();
    if (!answer) throw ferryError('OWNER_LOST', { id });
    return answer;
  } finally {
    signal?.removeEventListener('abort', stop);
    socket.destroy();
  }
}
