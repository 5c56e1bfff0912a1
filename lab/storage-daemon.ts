import { type ChildProcess, spawn } from 'node:child_process';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { tools, waitUntilAtRest } from '../src/base/index.ts';
import { NbdClient } from './nbd-client.ts';
import type { QemuBuild } from './qemu-builds.ts';

/** A `BlockdevOptions` as `blockdev-add` takes it. */
export type BlockNode = Readonly<Record<string, unknown>>;

/** An NBD export of a node. */
export interface DiskExport {
  /** The name of the export and its id in QMP. */
  readonly name: string;
  readonly node: string;
  /** Default: true. */
  readonly writable?: boolean;
  /** Dirty bitmaps of the node, for `qemu:dirty-bitmap:NAME`. */
  readonly bitmaps?: readonly string[];
}

export interface StorageDaemonOptions {
  /** A folder of its own: the sockets and the pid file are made there. Its path must be short (107 bytes with a name). */
  readonly directory: string;
  /** Objects that the nodes use (a throttle group), as `object-add` takes them. */
  readonly objects?: readonly BlockNode[];
  /** Added in this order, so a node comes after those that it names. */
  readonly nodes: readonly BlockNode[];
  readonly exports?: readonly DiskExport[];
  /** Default: the one that `QEMU_STORAGE_DAEMON` names, or the one on the path. */
  readonly build?: Pick<QemuBuild, 'storageDaemon' | 'env'>;
}

/** How often the start of the daemon is looked at, in milliseconds. */
const POLL_MS = 5;
const STDERR_TAIL = 8192;

/**
 * A `qemu-storage-daemon` with block nodes, NBD exports and a QMP socket: QEMU's block layer without a guest.
 *
 * An export stands in for a guest's disk. It is made by node name, and follows like a device does: a snapshot, a mirror
 * or a commit that replaces the node moves the export to the node that comes in its place. It differs from a guest in
 * what QEMU 7.2 holds while a job is pending: there one drained disk holds every virtio disk of its AioContext, here
 * only its own export. There is no `yank` here either.
 *
 * The daemon is killed with the process that started it.
 */
export class StorageDaemon implements AsyncDisposable {
  /** The path of the QMP socket. It takes one client at a time. */
  readonly qmpSocket: string;
  /** The path of the NBD socket of all the exports. */
  readonly nbdSocket: string;
  /** Resolves when the process has ended, with its exit status or the signal. */
  readonly exited: Promise<number | NodeJS.Signals>;
  readonly #child: ChildProcess;
  #ended = false;
  #stderr = '';

  private constructor(child: ChildProcess, qmpSocket: string, nbdSocket: string) {
    this.#child = child;
    this.qmpSocket = qmpSocket;
    this.nbdSocket = nbdSocket;
    child.stderr?.setEncoding('utf8').on('data', (text: string) => {
      this.#stderr = (this.#stderr + text).slice(-STDERR_TAIL);
    });
    this.exited = new Promise((resolve) => {
      child.once('error', (error) => {
        this.#ended = true;
        this.#stderr = error.message;
        resolve(127);
      });
      child.once('close', (status, signal) => {
        this.#ended = true;
        resolve(signal ?? status ?? 127);
      });
    });
  }

  /** Starts the daemon and waits until all nodes and exports are there. */
  static async start(options: StorageDaemonOptions): Promise<StorageDaemon> {
    const qmpSocket = join(options.directory, 'qsd-qmp.sock');
    const nbdSocket = join(options.directory, 'qsd-nbd.sock');
    const pidFile = join(options.directory, 'qsd.pid');
    const args = [
      ...(options.objects ?? []).flatMap((object) => ['--object', JSON.stringify(object)]),
      ...options.nodes.flatMap((node) => ['--blockdev', JSON.stringify(node)]),
      '--nbd-server',
      JSON.stringify({ addr: { type: 'unix', path: nbdSocket } }),
      ...(options.exports ?? []).flatMap(({ name, node, writable = true, bitmaps }) => [
        '--export',
        JSON.stringify({ type: 'nbd', id: name, name, 'node-name': node, writable, bitmaps }),
      ]),
      '--chardev',
      `socket,id=qmp,path=${qmpSocket.replaceAll(',', ',,')},server=on,wait=off`,
      '--monitor',
      'chardev=qmp',
      // Written when all of the above is done.
      '--pidfile',
      pidFile,
    ];
    const program = options.build?.storageDaemon ?? tools.qemuStorageDaemon();
    const child = spawn('setpriv', ['--pdeathsig=KILL', '--', program, ...args], {
      stdio: ['ignore', 'ignore', 'pipe'],
      env: { ...process.env, ...options.build?.env },
    });
    const daemon = new StorageDaemon(child, qmpSocket, nbdSocket);
    while ((await readFile(pidFile, 'utf8').catch(() => '')).trim() !== String(child.pid)) {
      if (daemon.#ended) throw new Error(`${program} did not start (${await daemon.exited}): ${daemon.#stderr.trim()}`);
      await sleep(POLL_MS);
    }
    await waitUntilAtRest(daemon.pid);
    return daemon;
  }

  get pid(): number {
    return this.#child.pid as number;
  }

  /** The last of what it printed on standard error. */
  get stderr(): string {
    return this.#stderr;
  }

  /** Connects to one of the exports. */
  connect(exportName: string): Promise<NbdClient> {
    return NbdClient.connect(this.nbdSocket, exportName);
  }

  /** Ends the process and waits for its end. The default leaves it no time to flush or to say anything. */
  async kill(signal: NodeJS.Signals = 'SIGKILL'): Promise<void> {
    if (!this.#ended) this.#child.kill(signal);
    await this.exited;
  }

  /** Stops the process (SIGSTOP): its disks and its monitor hang until `cont`. */
  stop(): void {
    this.#child.kill('SIGSTOP');
  }

  cont(): void {
    this.#child.kill('SIGCONT');
  }

  /** Kills it. To end it in order, `quit` over QMP or `kill('SIGTERM')` first. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.kill();
  }
}
