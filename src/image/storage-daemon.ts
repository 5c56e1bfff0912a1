import { type ChildProcess, spawn } from 'node:child_process';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { ferryError, isFerryError, limitedBy, messageOf, systemClock, tools, waitUntilAtRest } from '../base/index.ts';
import { QmpClient } from '../qmp/index.ts';

const CONNECT_RETRY_MS = 10;
const QUIT_MS = 2000;
const KILL_MS = 10_000;
const STDERR_TAIL = 8192;

/**
 * The most memory that it may have. It opens images as raw only, so what is in them costs nothing; but a job has bitmaps
 * of the file's length, and a file can claim to have any (16 MiB for each TiB and bitmap; threads and coroutines 0.6 GiB).
 */
const MEMORY_LIMIT = 4 * 2 ** 30;

/**
 * How long the first connection waits for the greeting, and the last; each waits twice as long as the one before. Its monitor
 * is ours alone, so a greeting that is late says that the host is busy.
 */
const GREETING_MS = { first: 2000, last: 64_000 };

/**
 * A qemu-storage-daemon of our own with its monitor. It lives no longer than this process: the kernel kills it when we
 * die (PR_SET_PDEATHSIG), so that nothing goes on writing unwatched. It runs in a session of its own, for a Ctrl-C on
 * the terminal is a question to us and must not kill it.
 */
export class StorageDaemon {
  readonly qmp: QmpClient;
  readonly #child: ChildProcess;
  readonly #exited: Promise<string>;

  private constructor(child: ChildProcess, exited: Promise<string>, qmp: QmpClient) {
    this.#child = child;
    this.#exited = exited;
    this.qmp = qmp;
  }

  /**
   * Starts it and connects.
   * @throws FerryError TOOL_MISSING, TOOL_FAILED, those of `QmpClient.connect`; the signal's reason
   */
  static async start(signal?: AbortSignal): Promise<StorageDaemon> {
    signal?.throwIfAborted();
    // Its default mode lets nobody else in. It is gone again as soon as the connection stands.
    const folder = await mkdtemp(join(tmpdir(), 'blockferry-'));
    const path = join(folder, 'qmp');
    const program = tools.qemuStorageDaemon();
    // In QEMU's option syntax a comma in a value is doubled.
    const chardev = `socket,id=monitor,path=${path.replaceAll(',', ',,')},server=on,wait=off`;
    const ready = join(folder, 'pid');
    const daemon = [program, '--chardev', chardev, '--monitor', 'chardev=monitor', '--pidfile', ready];
    const argv = ['--pdeathsig', 'KILL', '--', ...limitedBy({ memoryLimit: MEMORY_LIMIT }), ...daemon];
    const child = spawn('setpriv', argv, { stdio: ['ignore', 'ignore', 'pipe'], detached: true });
    let ended: string | undefined;
    let patience = GREETING_MS.first;
    const exited = ending(child).then((how) => {
      ended = how;
      return how;
    });
    try {
      while (true) {
        if (ended !== undefined) throw startFailure(program, ended, argv);
        // Its pid is what it writes last before it serves.
        if ((await readFile(ready, 'utf8').catch(() => '')) === '') {
          await systemClock.sleep(CONNECT_RETRY_MS, signal);
          continue;
        }
        await waitUntilAtRest(child.pid as number, signal);
        try {
          return new StorageDaemon(
            child,
            exited,
            await QmpClient.connect({ path }, { connectTimeoutMs: patience, ...(signal && { signal }) }),
          );
        } catch (error) {
          const silent = isFerryError(error, 'QMP_BUSY') && patience < GREETING_MS.last;
          if (!silent && !isFerryError(error, 'QMP_NO_SOCKET', 'QMP_REFUSED')) throw error;
          if (silent) patience *= 2;
          await systemClock.sleep(CONNECT_RETRY_MS, signal);
        }
      }
    } catch (error) {
      child.kill('SIGKILL');
      // Or it would make its socket in a folder that is just being removed.
      await exited;
      throw error;
    } finally {
      await rm(folder, { recursive: true, force: true });
    }
  }

  /** Process id, for messages and tests. */
  get pid(): number | undefined {
    return this.#child.pid;
  }

  /** Resolves when it has ended, with how and with what it said last. Never rejects. */
  get exited(): Promise<string> {
    return this.#exited;
  }

  /** Ends it in an orderly way. */
  async stop(): Promise<void> {
    // Its answer may get lost with the connection; whether it ends is what counts.
    void this.qmp.execute('quit').catch(() => undefined);
    if (!(await this.#endsWithin(QUIT_MS))) await this.kill();
    this.qmp.close();
  }

  /** Kills it. False when it is still there after 10 s: the kernel waits for a storage that does not answer. */
  async kill(): Promise<boolean> {
    this.#child.kill('SIGKILL');
    this.qmp.close();
    return await this.#endsWithin(KILL_MS);
  }

  async #endsWithin(ms: number): Promise<boolean> {
    const timer = new AbortController();
    const late = systemClock.sleep(ms, timer.signal).then(
      () => false,
      () => false,
    );
    const inTime = await Promise.race([this.#exited.then(() => true), late]);
    timer.abort();
    return inTime;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop();
  }
}

async function ending(child: ChildProcess): Promise<string> {
  let stderr = '';
  child.stderr?.setEncoding('utf8').on('data', (text: string) => {
    stderr = (stderr + text).slice(-STDERR_TAIL);
  });
  return await new Promise((resolve) => {
    child.once('error', (error) => resolve(messageOf(error)));
    child.once('close', (status, signal) => {
      const how = signal ? `killed by ${signal}` : `exit status ${status}`;
      resolve(stderr.trim() ? `${how}: ${stderr.trim()}` : how);
    });
  });
}

function startFailure(program: string, ended: string, argv: readonly string[]): Error {
  const missing = /(?:prlimit|setpriv): failed to execute .*?: (.*)$/m.exec(ended)?.[1] ?? /^spawn .*/.exec(ended)?.[0];
  return missing === undefined
    ? ferryError('TOOL_FAILED', { program, outcome: 'at its start', stderr: ended }, { details: { argv } })
    : ferryError('TOOL_MISSING', { program, reason: missing });
}
