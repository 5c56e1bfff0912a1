import { ferryError } from '../../src/base/index.ts';
import { ERR, LIFECYCLE } from '../../src/libvirt/index.ts';
import { resolveBackingName } from '../../src/image/index.ts';
import {
  copyOf,
  type DomainBelief,
  formatDomain,
  type KnownDisk,
  type KnownImage,
  type KnownJob,
} from './domain-belief.ts';
import {
  type Arguments,
  CALLS,
  errorFields,
  fails,
  type Insides,
  LOOKS,
  nobodyWaits,
  notRunning,
  shown,
  type SimEvent,
  soon,
  type Steps,
} from './libvirt-calls.ts';
import type { LibvirtClientSim } from './sim-libvirt-client.ts';
import type { Job } from './sim-qemu.ts';
import { Killed, Manager, type Wire, type World } from './world.ts';

/** How long libvirtd is away after a kill, at most and at least, in milliseconds. */
const AWAY_MS = { least: 20, most: 1500 } as const;

interface Work {
  readonly steps: Steps;
  /** libvirt lets one such call, or the end of one job, at a domain at a time. */
  readonly exclusive: boolean;
  readonly reply: (value: unknown) => void;
  readonly refuse: (error: unknown) => void;
  waits: () => boolean;
}

/**
 * A libvirtd (as 9.0 is) with one running domain, over the simulated QEMU. It answers from what it believes, changes QEMU
 * step by step, and writes down what it believes at the same places as the real one; killed, it is started again with what it
 * had written down, looks at QEMU's jobs, and never at its chains.
 */
export class SimLibvirtd implements Wire {
  up = true;
  /** Its status file could not be loaded: to it, there is no such domain. */
  forgotten = false;
  /** Whether it was ever killed. */
  wasKilled = false;
  readonly clients: Set<LibvirtClientSim> = new Set();
  /** The world sees to it with the other wires. */
  readonly manager = undefined;
  readonly #world: World;
  /** For timers of its own. */
  readonly #self = new Manager(-1);
  readonly #uuid: string;
  #belief: DomainBelief;
  #written: DomainBelief;
  #works: Work[] = [];
  #holder: Work | undefined;
  #nodes = 0;
  #life = 0;

  /** @param disks of each its target, its images from the top, and the nodes that they were started with */
  constructor(world: World, uuid: string, disks: readonly KnownDisk[]) {
    this.#world = world;
    this.#uuid = uuid;
    this.#belief = disks;
    this.#written = copyOf(disks);
    world.connections.add(this);
  }

  /** What it believes now. */
  get belief(): DomainBelief {
    return this.#belief;
  }

  // Its life.

  /** What it had written down last. */
  get written(): DomainBelief {
    return copyOf(this.#written);
  }

  /**
   * `kill -9`. It is started again after a while, and begins with what it had written down.
   * @param written default: all that it had
   */
  kill(written: DomainBelief = this.#written): void {
    if (!this.up) return;
    this.#written = written;
    this.up = false;
    this.wasKilled = true;
    this.#life += 1;
    this.#works = [];
    this.#holder = undefined;
    for (const client of this.clients) client.lose('libvirtd was killed');
    const away = AWAY_MS.least + this.#world.random.integer(AWAY_MS.most);
    this.#world.after(away, this.#self, () => this.#rise());
  }

  #rise(): void {
    this.up = true;
    this.#world.say('libvirtd', 'is started again');
    this.#belief = copyOf(this.#written);
    if (!this.#world.qemu.alive) return;
    if (this.#belief.some(({ mirror }) => mirror?.kind === '')) {
      this.forgotten = true;
      this.#world.say('libvirtd', "forgets the domain: unknown mirror job type ''");
      return;
    }
    for (const disk of this.#belief) this.#refresh(disk);
  }

  /** `qemuBlockJobRefreshJobs`. */
  #refresh(disk: KnownDisk): void {
    const { job } = disk;
    if (job === undefined) return;
    const found = this.#world.qemu.jobs.get(job.id);
    if (found === undefined) {
      // The mirror of it stays in the description.
      delete disk.job;
      this.#written = copyOf(this.#belief);
    } else if (found.status === 'concluded') {
      this.#begin(this.#conclude(disk, job, false));
    } else if (found.status === 'ready') {
      this.#begin(this.#nowReady(disk, job));
    }
  }

  /** The process of the domain has ended. */
  qemuGone(): void {
    for (const { refuse } of this.#works) refuse(notRunning('the call'));
    this.#works = [];
    this.#holder = undefined;
    this.#tell({ name: 'LIFECYCLE', event: LIFECYCLE.STOPPED });
  }

  /** QEMU tells of a change of a job. */
  jobChanged({ id }: Job, status: string): void {
    if (!this.up || this.forgotten) return;
    const disk = this.#belief.find(({ job }) => job?.id === id);
    const job = disk?.job;
    if (disk === undefined || job === undefined || job.awaited) return;
    if (status === 'ready') this.#begin(this.#nowReady(disk, job));
    if (status === 'concluded') this.#begin(this.#conclude(disk, job, true));
  }

  #tell(event: SimEvent): void {
    for (const client of this.clients) client.event(event);
  }

  // The scheduler's view of it.

  #isFree(work: Work): boolean {
    if (work.exclusive && this.#holder !== undefined && this.#holder !== work) return false;
    return !work.waits();
  }

  get canAdvance(): boolean {
    return this.up && this.#works.some((work) => this.#isFree(work));
  }

  /** One of its calls does the next thing. */
  advance(): void {
    const free = this.#works.filter((work) => this.#isFree(work));
    const work = free[this.#world.random.integer(free.length)];
    if (work === undefined) return;
    if (work.exclusive) this.#holder = work;
    const life = this.#life;
    try {
      const { done, value } = work.steps.next();
      if (life !== this.#life) return;
      if (!done) {
        work.waits = value;
        return;
      }
      this.#over(work);
      work.reply(value);
    } catch (error) {
      if (life !== this.#life) return;
      this.#over(work);
      if (!(error instanceof Killed)) work.refuse(error);
    }
  }

  #over(work: Work): void {
    if (this.#holder === work) this.#holder = undefined;
    this.#works = this.#works.filter((other) => other !== work);
  }

  abandon(): void {
    // It is nobody's.
  }

  // What it does.

  /** Takes a call. */
  take(name: string, args: Arguments, reply: (value: unknown) => void, refuse: (error: unknown) => void): void {
    const call = CALLS[name];
    const steps = call
      ? this.#call(name, args, call)
      : fails(() => ferryError('LIBVIRT_ERROR', errorFields(name, ERR.NO_SUPPORT, 'no model of it')));
    this.#begin(steps, { exclusive: !LOOKS.has(name), reply, refuse });
  }

  #begin(steps: Steps, given: Partial<Pick<Work, 'exclusive' | 'reply' | 'refuse'>> = {}): void {
    this.#works.push({ exclusive: true, reply: nobodyWaits, refuse: nobodyWaits, waits: () => false, ...given, steps });
  }

  *#call(name: string, args: Arguments, call: (typeof CALLS)[string]): Steps {
    this.#effect(name, () => undefined, shown(args), name);
    if (this.forgotten || !this.#world.qemu.alive)
      throw ferryError('LIBVIRT_ERROR', errorFields(name, ERR.NO_DOMAIN, 'no domain with matching uuid'));
    return yield* call(this.#insides, name, args);
  }

  /**
   * Does one thing at which a fault may be injected.
   * @param refusable by this name, where libvirt can refuse before anything is done
   */
  #effect<T>(name: string, act: () => T, detail = '', refusable?: string): T {
    const world = this.#world;
    const { manager, qemu } = world;
    const life = this.#life;
    const alive = qemu.alive;
    let done = false;
    const once = (): T => {
      done = true;
      return act();
    };
    let result: T | undefined;
    if (manager.alive) {
      try {
        result = world.effect({ manager, kind: 'libvirt', name, detail: () => detail }, once, ({ kind, when }) => {
          if (kind === 'error' && refusable !== undefined)
            throw ferryError('LIBVIRT_ERROR', errorFields(refusable, ERR.OPERATION_FAILED, 'simulated'));
          if (kind === 'unknown-outcome' && when === 'before')
            for (const client of this.clients) client.lose('it broke');
          const value = once();
          if (kind === 'unknown-outcome' && when === 'after')
            for (const client of this.clients) client.lose('it broke');
          return value;
        });
      } catch (error) {
        // Only the manager is dead: the call goes on.
        if (!(error instanceof Killed)) throw error;
      }
    } else {
      world.say('libvirt', `${name} ${detail}`);
    }
    if (life !== this.#life) throw new Killed();
    if (alive && !world.qemu.alive) throw notRunning(name);
    return done ? (result as T) : once();
  }

  readonly #insides: Insides = {
    disk: (call, path) => {
      const disk = this.#belief.find(({ target }) => target === path);
      if (disk) return disk;
      throw ferryError('LIBVIRT_ERROR', errorFields(call, ERR.INVALID_ARG, `no disk '${String(path)}'`));
    },
    xml: () => formatDomain('sim', this.#uuid, this.#belief),
    world: () => this.#world,
    tell: (event) => this.#tell(event),
    effect: (name, act, detail) => this.#effect(name, act, detail),
    save: (why) => this.#save(why),
    image: (path) => this.#image(path),
    chain: (path) => this.#chain(path),
    conclude: (disk, job) => this.#conclude(disk, job, true),
  };

  /** Writes its status file. */
  #save(why: string): void {
    this.#effect(`status written: ${why}`, () => (this.#written = copyOf(this.#belief)));
  }

  #image(path: string): KnownImage {
    const inode = this.#world.files.open(path);
    if (!inode) throw ferryError('LIBVIRT_ERROR', errorFields('open', ERR.SYSTEM_ERROR, `no file '${path}'`));
    this.#nodes += 1;
    return { path, format: inode.format, node: `libvirt-${this.#nodes}-format` };
  }

  /** The images below, by the headers. */
  #chain(path: string): readonly KnownImage[] {
    const images: KnownImage[] = [];
    const { files } = this.#world;
    for (let at = files.open(path)?.now.backing, of = path; at !== undefined; ) {
      const below = resolveBackingName(of, at.name);
      images.push(this.#image(below));
      [at, of] = [files.open(below)?.now.backing, below];
    }
    return images;
  }

  *#nowReady(disk: KnownDisk, job: KnownJob): Steps {
    yield soon;
    if (job.state !== 'new' && job.state !== 'running') return;
    job.state = 'ready';
    if (disk.mirror) disk.mirror.ready = 'yes';
    this.#save('the job is ready');
    this.#tell({ name: 'BLOCK_JOB_2', dst: disk.target, status: 3 });
  }

  /**
   * A job of QEMU is over.
   * @param heard whether QEMU has told of it, or it was found so by a libvirtd that was started again
   */
  *#conclude(disk: KnownDisk, job: KnownJob, heard: boolean): Steps {
    const { qemu } = this.#world;
    const { mirror } = disk;
    if (mirror) [mirror.kind, mirror.ready] = ['', ''];
    const failed = qemu.jobs.get(job.id)?.error !== undefined;
    this.#effect('job-dismiss', () => qemu.dismiss(job.id), job.id);
    yield soon;
    if (heard) this.#save('a job is being concluded');
    yield soon;
    const { images } = disk;
    const old = this.#transition(disk, job, failed);
    const after = disk.images;
    // A commit's disk is on its base before the overlay is closed, a copy's on its mirror when the old chain is.
    if (job.kind === 'copy') disk.images = images;
    this.#effect('blockdev-del', () => this.#close(old), old.map(({ path }) => path).join(', '));
    yield soon;
    disk.images = after;
    delete disk.mirror;
    delete disk.job;
    this.#save('a job has ended');
    this.#tell({ name: 'BLOCK_JOB_2', dst: disk.target, status: failed ? 1 : 0 });
    return failed && job.state === 'pivoting';
  }

  /** The disk's chain, as it is after the job. @returns what is not needed any more */
  #transition(disk: KnownDisk, job: KnownJob, failed: boolean): readonly KnownImage[] {
    const { mirror, images } = disk;
    if (mirror === undefined) return [];
    if (job.kind === 'active-commit') {
      if (failed) return [];
      const at = images.findIndex(({ path }) => path === mirror.image.path);
      disk.images = images.slice(at);
      return images.slice(0, at);
    }
    // One that was pivoted before that was written down is taken for one that was aborted.
    if (failed || job.state !== 'pivoting') return [mirror.image];
    disk.images = [mirror.image, ...mirror.below];
    return images;
  }

  /** From the top; one that is in use stays, and libvirt does not care. */
  #close(images: readonly KnownImage[]): void {
    for (const { node } of images) {
      try {
        this.#world.qemu.deleteNode(node);
      } catch {
        // It logs it.
      }
    }
  }
}
