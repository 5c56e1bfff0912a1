/** Real QEMU processes with monitors, for tests: no guest runs in them. */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { connect, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { waitUntilAtRest } from '../../base/index.ts';
import type { QmpAddress } from '../address.ts';

const MACHINE = ['-machine', 'none', '-nodefaults', '-display', 'none', '-S'];

/** A TCP port of this host that was free a moment ago. */
export async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address();
  server.close();
  await once(server, 'close');
  if (address === null || typeof address === 'string') throw new Error('no TCP port');
  return address.port;
}

export interface RealQemuOptions {
  /** More arguments, made of the folder that the program runs in. */
  readonly args?: (directory: string) => readonly string[];
  /** What to add to the environment. */
  readonly env?: NodeJS.ProcessEnv;
  /** Descriptors of this process that are 3, 4, … there. */
  readonly inherit?: readonly number[];
}

/** A QEMU with one monitor on a unix socket and whatever else its arguments say. */
export class RealQemu implements AsyncDisposable {
  readonly directory: string;
  readonly path: string;
  readonly #pidFile: string;
  readonly #child: ChildProcess;
  readonly #exited: Promise<unknown>;
  #stderr = '';

  private constructor(program: string, { args, env, inherit = [] }: RealQemuOptions) {
    this.directory = mkdtempSync(join(tmpdir(), 'real-qemu-'));
    this.path = join(this.directory, 'qmp.sock');
    this.#pidFile = join(this.directory, 'pid');
    const monitor = `socket,id=qmp,path=${this.path},server=on,wait=off`;
    const argv =
      basename(program) === 'qemu-storage-daemon'
        ? ['--chardev', monitor, '--monitor', 'chardev=qmp', '--pidfile', this.#pidFile]
        : [...MACHINE, '-chardev', monitor, '-mon', 'chardev=qmp,mode=control', '-pidfile', this.#pidFile];
    // setpriv becomes the program itself, which the kernel kills when the test process dies.
    this.#child = spawn('setpriv', ['--pdeathsig', 'KILL', program, ...argv, ...(args?.(this.directory) ?? [])], {
      stdio: ['ignore', 'ignore', 'pipe', ...inherit],
      cwd: this.directory,
      env: { ...process.env, ...env },
    });
    this.#child.stderr?.setEncoding('utf8').on('data', (text: string) => (this.#stderr += text));
    this.#exited = once(this.#child, 'close');
  }

  /** Starts the program in a folder of its own and waits until its monitor greets. */
  static async start(program: string, options: RealQemuOptions = {}): Promise<RealQemu> {
    const qemu = new RealQemu(program, options);
    const greets = async (): Promise<boolean> => {
      if (!existsSync(qemu.#pidFile)) return false;
      await waitUntilAtRest(qemu.pid);
      return await listens({ path: qemu.path });
    };
    while (!(await greets())) {
      if (qemu.#child.exitCode !== null) {
        await qemu[Symbol.asyncDispose]();
        throw new Error(`${program} ended: ${qemu.#stderr}`);
      }
      await sleep(10);
    }
    return qemu;
  }

  get pid(): number {
    return this.#child.pid ?? 0;
  }

  async kill(signal: 'SIGKILL' | 'SIGSTOP' | 'SIGCONT'): Promise<void> {
    this.#child.kill(signal);
    if (signal === 'SIGKILL') await this.#exited;
  }

  /** Resolves when the process has ended. */
  async ended(): Promise<void> {
    await this.#exited;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.kill('SIGKILL');
    rmSync(this.directory, { recursive: true, force: true });
  }
}

/** Whether a monitor greets here. */
async function listens(address: QmpAddress): Promise<boolean> {
  const socket = connect(address);
  try {
    await once(socket, 'data');
    return true;
  } catch {
    return false;
  } finally {
    socket.destroy();
  }
}

/** The bytes that a monitor answers to these lines, until they have so many line ends. */
export async function rawAnswers(path: string, lines: readonly string[], lineEnds: number): Promise<string> {
  const socket = connect(path).setEncoding('utf8');
  let text = '';
  socket.on('data', (chunk: Buffer | string) => (text += chunk.toString()));
  socket.write(lines.join(''));
  while (text.split('\r\n').length <= lineEnds) await once(socket, 'data');
  socket.destroy();
  return text;
}
