import { EventQueue, ferryError, type FerryError } from '../../src/base/index.ts';
import type { QmpEvent } from '../../src/qmp/index.ts';
import type { VirtualMachine, VmIdentity } from '../../src/vm/index.ts';
import type { DialledMonitor, Monitor } from '../../src/vm/qemu/monitor.ts';
import type { Random } from '../torture/random.ts';
import type { Job } from './sim-qemu.ts';
import { Killed, type Manager, type Wire, type World } from './world.ts';

const ADDRESS = '/run/sim.qmp';

type OpenFile = NonNullable<Awaited<ReturnType<VirtualMachine['openFiles']>>>[number];

interface Command {
  readonly name: string;
  readonly args: object;
  readonly resolve: (value: unknown) => void;
  readonly reject: (error: unknown) => void;
}

/** One manager's connection to the monitor: commands one way, replies and events the other, each in order. */
export class Connection implements Wire {
  readonly manager: Manager;
  readonly #world: World;
  readonly #sent: Command[] = [];
  /** What QEMU has sent and has not arrived yet. */
  readonly #coming: (() => void)[] = [];
  readonly #queues: Set<{ readonly accept: (event: QmpEvent) => boolean; readonly queue: EventQueue<QmpEvent> }> =
    new Set();
  /** Commands whose replies have not come. */
  readonly #open: Set<Command> = new Set();
  #closed: string | undefined;

  constructor(world: World, manager: Manager) {
    this.#world = world;
    this.manager = manager;
    world.connections.add(this);
  }

  get state(): 'ready' | 'closed' {
    return this.#closed === undefined ? 'ready' : 'closed';
  }

  execute(name: string, args: object = {}): Promise<unknown> {
    if (!this.manager.alive) return new Promise(() => undefined);
    if (this.#closed !== undefined) {
      return Promise.reject(ferryError('QMP_CLOSED', { address: ADDRESS, why: this.#closed, command: name }));
    }
    return new Promise((resolve, reject) => {
      const command = { name, args, resolve, reject };
      this.#open.add(command);
      this.#sent.push(command);
    });
  }

  listen(accept: (event: QmpEvent) => boolean): EventQueue<QmpEvent> {
    if (this.#closed !== undefined)
      throw ferryError('QMP_CLOSED', { address: ADDRESS, why: this.#closed, command: 'events' });
    const listener = { accept, queue: new EventQueue<QmpEvent>('events', () => void this.#queues.delete(listener)) };
    this.#queues.add(listener);
    return listener.queue;
  }

  jobChanged({ id }: Job, status: string): void {
    if (this.#closed !== undefined) return;
    const event = { event: 'JOB_STATUS_CHANGE', data: { id, status } } as const;
    this.#coming.push(() => {
      for (const { accept, queue } of this.#queues) if (accept(event as QmpEvent)) queue.offer(event as QmpEvent);
    });
  }

  get canAdvance(): boolean {
    return this.#sent.length + this.#coming.length > 0;
  }

  /** QEMU executes the next command, or what it has sent arrives. */
  advance(): void {
    const arrives = this.#sent.length === 0 || (this.#coming.length > 0 && this.#world.random.chance(0.5));
    if (arrives) return this.#coming.shift()?.();
    const command = this.#sent.shift();
    if (command) this.#execute(command);
    return undefined;
  }

  #execute(command: Command): void {
    const { name, args } = command;
    const world = this.#world;
    const act = (): unknown => world.execute(name, args);
    let reply: () => void;
    try {
      const effect = { manager: this.manager, kind: 'qmp', name, detail: () => shown(args) } as const;
      const value = world.effect(effect, act, ({ kind, when }) => {
        // QEMU closes a node of the VM's own unless something stands on it.
        if (kind === 'error' && name === 'blockdev-del' && !shown(args).includes('bf-')) return act();
        if (kind === 'error')
          throw ferryError('QMP_COMMAND', { command: name, desc: 'simulated', class: 'GenericError' });
        if (when === 'after') attempt(act);
        return this.lose('the connection broke');
      });
      reply = () => command.resolve(value);
    } catch (error) {
      if (error instanceof Killed) return;
      reply = () => command.reject(error);
    }
    if (this.#closed !== undefined) return;
    const answer = (): void => {
      this.#open.delete(command);
      reply();
    };
    // Mostly at once; now and then something else happens first.
    if (this.#coming.length === 0 && this.#world.random.chance(0.7)) answer();
    else this.#coming.push(answer);
  }

  qemuGone(): void {
    this.lose('QEMU is gone');
  }

  /** The connection ends; what was outstanding may have been executed, and some of it is. */
  lose(why: string): void {
    if (this.#closed !== undefined) return;
    this.#closed = why;
    this.#world.connections.delete(this);
    this.#executeSome(this.#world.random);
    for (const { name, reject } of this.#open) reject(interrupted(name, why));
    for (const { queue } of this.#queues) queue.end(interrupted('events', why));
  }

  /** The manager is dead: commands that it had sent may still be executed. */
  abandon(random: Random): void {
    this.#closed ??= 'its manager is dead';
    this.#world.connections.delete(this);
    this.#executeSome(random);
  }

  #executeSome(random: Random): void {
    const { qemu } = this.#world;
    if (!qemu.alive) return;
    const sent = this.#sent.splice(0);
    for (const { name, args } of sent.slice(0, random.integer(sent.length + 1))) {
      this.#world.say('qmp', `${name} ${shown(args)} (nobody waits for the reply)`);
      attempt(() => this.#world.execute(name, args));
    }
  }

  close(): void {
    this.lose('closed by this side');
  }
}

function attempt(act: () => unknown): void {
  try {
    act();
  } catch {
    // Nobody hears of it.
  }
}

function interrupted(command: string, why: string): FerryError {
  const outcome = `whether '${command}' was executed is not known`;
  return ferryError('QMP_INTERRUPTED', { address: ADDRESS, why, outcome });
}

function shown(args: object): string {
  return JSON.stringify(args, (key, value: unknown) => (HIDDEN.has(key) ? undefined : value)).replaceAll(/["{}]/g, '');
}

const HIDDEN = new Set([
  'cache',
  'detect-zeroes',
  'discard',
  'driver',
  'aio',
  'sync',
  'copy-mode',
  'granularity',
  'on-target-error',
  'auto-finalize',
  'auto-dismiss',
]);

/** What connects a manager to the simulated QEMU. @throws FerryError QMP_REFUSED when it is gone */
export function dialler(
  world: World,
  manager: Manager,
  change: (name: string, args: object) => object | undefined = (_, args) => args,
): () => Promise<DialledMonitor> {
  return () => {
    if (!manager.alive) return new Promise(() => undefined);
    if (!world.qemu.alive) return Promise.reject(ferryError('QMP_REFUSED', { address: ADDRESS }));
    const connection = new Connection(world, manager);
    const qmp = {
      get state() {
        return connection.state;
      },
      execute(name: string, args: object = {}) {
        const changed = change(name, args);
        return changed === undefined ? Promise.resolve({}) : connection.execute(name, changed);
      },
      executeRaw: (name: string, args?: object) => connection.execute(name, args),
      listen: (accept: (event: QmpEvent) => boolean) => connection.listen(accept),
      close: () => connection.close(),
      [Symbol.asyncDispose]: () => Promise.resolve(connection.close()),
    } as unknown as Monitor;
    return Promise.resolve({
      qmp,
      host: {
        identity: IDENTITY,
        started: new Map(),
        absolute: (filename) => filename,
        hasEnded: () => Promise.resolve(!world.qemu.alive),
        openFiles: () => Promise.resolve(openFiles(world)),
      },
    });
  };
}

/** The files that QEMU has open. */
export function openFiles({ qemu, files }: World): readonly OpenFile[] {
  if (!qemu.alive) return [];
  return [...qemu.nodes.values()].map(({ inode, path }) => ({
    dev: inode.device,
    ino: String(inode.ino),
    path: files.lookup(path) === inode ? path : `${path} (deleted)`,
  }));
}

export const IDENTITY: VmIdentity = {
  name: 'sim',
  uuid: '',
  host: 'here',
  process: 'boot/7/8',
  pid: 7,
  address: ADDRESS,
};
