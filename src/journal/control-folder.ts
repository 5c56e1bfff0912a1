import { chmodSync, closeSync, constants, openSync, readdirSync, rmSync } from 'node:fs';
import { connect, type Socket } from 'node:net';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { type Clock, errnoOf, ferryError, messageOf } from '../base/index.ts';
import { createPrivateFile, makePrivateDirectory } from './state-directory.ts';

const PATIENCE_MS = 30_000;
const RETRY_MS = 10;
/** SQLITE_BUSY */
const BUSY = 5;

/**
 * The folder `control` of a state directory, in which each owner of a migration listens on `ID.sock`. Only the user who
 * made it, and root, can enter it.
 *
 * A socket's address holds 107 bytes and state directories may be longer, so sockets are addressed through a descriptor of
 * the folder. (An abstract socket would need no file, but it has no permissions, and is one for all state directories of
 * a network namespace and none for a second namespace.)
 */
export class ControlFolder implements Disposable {
  readonly #path: string;
  #fd: number | undefined;

  private constructor(path: string, fd: number) {
    this.#path = path;
    this.#fd = fd;
  }

  /** Opens it, and makes it when it is missing. @throws FerryError JOURNAL_UNAVAILABLE, JOURNAL_UNSAFE */
  static make(stateDir: string): ControlFolder {
    const path = join(stateDir, 'control');
    makePrivateDirectory(stateDir);
    makePrivateDirectory(path);
    try {
      chmodSync(path, 0o700);
      createPrivateFile(join(path, 'lock'));
      return new ControlFolder(path, openFolder(path));
    } catch (error) {
      throw ferryError('JOURNAL_UNAVAILABLE', { path, reason: messageOf(error) }, { cause: error });
    }
  }

  /** Opens it when it exists. @throws FerryError JOURNAL_UNAVAILABLE */
  static find(stateDir: string): ControlFolder | undefined {
    const path = join(stateDir, 'control');
    try {
      return new ControlFolder(path, openFolder(path));
    } catch (error) {
      if (errnoOf(error) === 'ENOENT') return undefined;
      throw ferryError('JOURNAL_UNAVAILABLE', { path, reason: messageOf(error) }, { cause: error });
    }
  }

  /** Closes the descriptor: addresses that were given out mean nothing any more. */
  [Symbol.dispose](): void {
    if (this.#fd !== undefined) closeSync(this.#fd);
    this.#fd = undefined;
  }

  /** The address of a migration's socket, valid in this process and until this is disposed of. */
  address(id: string): string {
    if (this.#fd === undefined) throw ferryError('INTERNAL', { what: 'a control folder was used after its end' });
    return `/proc/self/fd/${this.#fd}/${id}.sock`;
  }

  /** The migrations of which there is a socket file, whether anybody listens on it or not. */
  ids(): string[] {
    return readdirSync(this.#path).flatMap((name) => (name.endsWith('.sock') ? [name.slice(0, -'.sock'.length)] : []));
  }

  /** Removes the socket file that a dead owner left. Only under `lock`. */
  removeSocket(id: string): void {
    rmSync(join(this.#path, `${id}.sock`), { force: true });
  }

  /**
   * One claimer at a time looks whether a socket is alive and replaces it if not: otherwise two could find it dead, and the
   * slower one would remove the socket that the faster one has just bound. The lock is SQLite's (Node has no flock), on a
   * file that stays empty and is never removed; the kernel frees it when the process dies.
   */
  async lock(id: string, clock: Clock): Promise<Disposable> {
    const db = new DatabaseSync(join(this.#path, 'lock'), { timeout: 0 });
    const start = clock.monotonic();
    for (;;) {
      try {
        db.exec('BEGIN EXCLUSIVE');
        return db;
      } catch (error) {
        const busy = error instanceof Error && 'errcode' in error && error.errcode === BUSY;
        if (!busy || clock.monotonic() - start > PATIENCE_MS) {
          db.close();
          throw ferryError('CONTROL_SOCKET', { id, reason: `the claim lock: ${messageOf(error)}` }, { cause: error });
        }
        await clock.sleep(RETRY_MS);
      }
    }
  }
}

function openFolder(path: string): number {
  return openSync(path, constants.O_RDONLY | constants.O_DIRECTORY);
}

/**
 * Connects to the owner of a migration; undefined when nobody listens.
 * @throws FerryError CONTROL_SOCKET when the socket may not be used; the signal's reason
 */
export async function connectOwner(
  folder: ControlFolder,
  id: string,
  clock: Clock,
  signal?: AbortSignal,
): Promise<Socket | undefined> {
  for (;;) {
    signal?.throwIfAborted();
    const outcome = await connectOnce(folder.address(id));
    if (typeof outcome !== 'string') return outcome;
    if (outcome === 'ENOENT' || outcome === 'ECONNREFUSED') return undefined;
    // The owner is alive and has more callers waiting than the kernel keeps for it.
    if (outcome !== 'EAGAIN') throw ferryError('CONTROL_SOCKET', { id, reason: outcome });
    await clock.sleep(RETRY_MS, signal);
  }
}

function connectOnce(address: string): Promise<Socket | string> {
  return new Promise((resolve) => {
    const socket = connect(address);
    socket.once('connect', () => resolve(socket));
    socket.on('error', (error) => resolve(errnoOf(error) ?? messageOf(error)));
  });
}
