import { EventQueue, type FerryError, ferryError } from '../../src/base/index.ts';
import type { DomainEvent, RemoteDomain } from '../../src/libvirt/index.ts';
import type { DomainReach, Libvirtd } from '../../src/vm/libvirt/reach.ts';
import type { Random } from '../torture/random.ts';
import { nobodyWaits, type SimEvent } from './libvirt-calls.ts';
import type { SimLibvirtd } from './sim-libvirtd.ts';
import { IDENTITY, openFiles } from './sim-monitor.ts';
import type { Manager, Wire, World } from './world.ts';

const ADDRESS = 'qemu:///system';
export const DOMAIN: RemoteDomain = { name: IDENTITY.name, uuid: '1cd3f81e-7c4a-4d62-9c06-6f4a1f9ae3b5', id: 1 };

interface Call {
  readonly name: string;
  readonly args: object;
  readonly resolve: (value: unknown) => void;
  readonly reject: (error: unknown) => void;
}

/** One manager's connection to libvirtd: calls one way, replies and events the other. */
export class LibvirtClientSim implements Wire {
  readonly manager: Manager;
  readonly #world: World;
  readonly #daemon: SimLibvirtd;
  readonly #sent: Call[] = [];
  /** What libvirtd has sent and has not arrived yet. */
  readonly #coming: (() => void)[] = [];
  readonly #open: Set<Call> = new Set();
  readonly #queues: Set<{ readonly accept: (event: DomainEvent) => boolean; readonly queue: EventQueue<DomainEvent> }> =
    new Set();
  #closed: string | undefined;

  constructor(world: World, daemon: SimLibvirtd, manager: Manager) {
    this.#world = world;
    this.#daemon = daemon;
    this.manager = manager;
    world.connections.add(this);
    daemon.clients.add(this);
  }

  get state(): 'ready' | 'closed' {
    return this.#closed === undefined ? 'ready' : 'closed';
  }

  call(name: string, args: object = {}): Promise<unknown> {
    if (!this.manager.alive) return new Promise(() => undefined);
    if (this.#closed !== undefined)
      return Promise.reject(ferryError('LIBVIRT_CLOSED', { address: ADDRESS, why: this.#closed, call: name }));
    return new Promise((resolve, reject) => {
      const call = { name, args, resolve, reject };
      this.#open.add(call);
      this.#sent.push(call);
    });
  }

  listen(accept: (event: DomainEvent) => boolean): EventQueue<DomainEvent> {
    if (this.#closed !== undefined)
      throw ferryError('LIBVIRT_CLOSED', { address: ADDRESS, why: this.#closed, call: 'events' });
    const listener = { accept, queue: new EventQueue<DomainEvent>('events', () => void this.#queues.delete(listener)) };
    this.#queues.add(listener);
    return listener.queue;
  }

  event(event: SimEvent): void {
    if (this.#closed !== undefined) return;
    const told = { dom: DOMAIN, ...event } as DomainEvent;
    this.#coming.push(() => {
      for (const { accept, queue } of this.#queues) if (accept(told)) queue.offer(told);
    });
  }

  get canAdvance(): boolean {
    return this.#sent.length + this.#coming.length > 0;
  }

  /** libvirtd takes the next call, or what it has sent arrives. */
  advance(): void {
    const arrives = this.#sent.length === 0 || (this.#coming.length > 0 && this.#world.random.chance(0.5));
    if (arrives) return this.#coming.shift()?.();
    const call = this.#sent.shift();
    if (call) this.#hand(call);
    return undefined;
  }

  #hand(call: Call): void {
    const answer = (reply: () => void): void => {
      if (this.#closed !== undefined) return;
      const arrive = (): void => {
        this.#open.delete(call);
        reply();
      };
      // Mostly at once; now and then something else happens first.
      if (this.#coming.length === 0 && this.#world.random.chance(0.7)) arrive();
      else this.#coming.push(arrive);
    };
    this.#daemon.take(
      call.name,
      call.args as Readonly<Record<string, unknown>>,
      (value) => answer(() => call.resolve(value)),
      (error) => answer(() => call.reject(error)),
    );
  }

  /** The connection ends; what was outstanding may be carried out. */
  lose(why: string): void {
    if (this.#closed !== undefined) return;
    this.abandon(this.#world.random);
    this.#closed = why;
    for (const { name, reject } of this.#open) reject(interrupted(name, why));
    for (const { queue } of this.#queues) queue.end(interrupted('events', why));
  }

  /** The manager is dead: calls that it had sent may still be carried out. */
  abandon(random: Random): void {
    if (this.#closed !== undefined) return;
    this.#closed = 'its manager is dead';
    this.#world.connections.delete(this);
    this.#daemon.clients.delete(this);
    if (!this.#daemon.up) return;
    const sent = this.#sent.splice(0);
    for (const { name, args } of sent.slice(0, random.integer(sent.length + 1)))
      this.#daemon.take(name, args as Readonly<Record<string, unknown>>, nobodyWaits, nobodyWaits);
  }

  close(): void {
    this.lose('closed by this side');
  }
}

function interrupted(call: string, why: string): FerryError {
  const outcome = `whether '${call}' was carried out is not known`;
  return ferryError('LIBVIRT_INTERRUPTED', { address: ADDRESS, why, outcome });
}

/** How a manager reaches the simulated domain. */
export function simReach(world: World, daemon: SimLibvirtd, manager: Manager): DomainReach {
  return {
    dom: DOMAIN,
    identity: { ...IDENTITY, address: ADDRESS },
    connect: () => {
      if (!manager.alive) return new Promise(() => undefined);
      if (!daemon.up) return Promise.reject(ferryError('LIBVIRT_REFUSED', { address: ADDRESS }));
      const client = new LibvirtClientSim(world, daemon, manager);
      return Promise.resolve({
        get state() {
          return client.state;
        },
        call: (name: string, args?: object) => client.call(name, args),
        listen: (names: readonly string[], accept: (event: DomainEvent) => boolean) =>
          Promise.resolve(client.listen((event) => names.includes(event.name) && accept(event))),
        close: () => client.close(),
        [Symbol.asyncDispose]: () => Promise.resolve(client.close()),
      } as unknown as Libvirtd);
    },
    hasEnded: () => Promise.resolve(!world.qemu.alive),
    hasOpen: (path) => {
      const inode = world.files.open(path);
      return Promise.resolve(inode !== undefined && world.qemu.opens(inode));
    },
    openFiles: () => Promise.resolve(openFiles(world)),
  };
}
