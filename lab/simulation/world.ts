import { dirname } from 'node:path';
import type { CommitKind } from '../../src/journal/index.ts';
import { random as seeded, type Random } from '../torture/random.ts';
import type { Fault, FaultKind } from './fault.ts';
import { Guest } from './guest.ts';
import { EMPTY_JOURNAL, type JournalContents } from './memory-journal.ts';
import { executeOn } from './qmp-commands.ts';
import type { SimFiles } from './sim-files.ts';
import type { SimLibvirtd } from './sim-libvirtd.ts';
import type { Behaviour, Job } from './sim-qemu.ts';
import { SimQemu } from './sim-qemu.ts';

/** A process that drives the migration. When it is killed nothing that it waits for ever comes. */
export class Manager {
  alive = true;
  readonly number: number;

  constructor(number: number) {
    this.number = number;
  }
}

/** Thrown through a manager that is dead, to unwind it; whatever it does on the way has no effect. */
export class Killed extends Error {}

/** A connection, or libvirtd: what can be taken one step further by a command, a reply or an event. */
export interface Wire {
  /** Undefined where it is nobody's. */
  readonly manager: Manager | undefined;
  readonly canAdvance: boolean;
  advance(): void;
  /** Its manager is dead. */
  abandon(random: Random): void;
  /** QEMU is. */
  qemuGone?(): void;
  /** A job of QEMU's has changed. */
  jobChanged?(job: Job, status: string): void;
}

/** Something of a manager's that goes on outside of it, and can be taken one step further. */
export interface Task {
  readonly manager: Manager;
  readonly what: string;
  /** The file that it works on. */
  readonly about: string;
  /** One step; true when it is over. */
  step(): boolean;
}

interface Timer {
  readonly at: number;
  readonly manager: Manager;
  readonly wake: () => void;
}

export interface WorldOptions {
  readonly seed: number;
  readonly faults: readonly Fault[];
  /** Numbers of guest writes that are not made. */
  readonly skipWrites?: ReadonlySet<number>;
  readonly writeRate: number;
  readonly behaviour: Behaviour;
  readonly files: SimFiles;
  readonly migration: string;
  readonly keepTrace: boolean;
  /** Whether a copy that is wrong is going to be found out. */
  readonly canSpoil: boolean;
}

/** How long the storages stand still at most, in milliseconds: less than the limit of a hold. */
const LONGEST_STALL_MS = 9000;

/** What changes nothing, so that nothing need be checked after it. */
const LOOKS: ReadonlySet<string> = new Set(
  `query-block query-block-jobs query-named-block-nodes query-status query-qmp-schema query-iothreads fileMark stampOf openersOf
   storageSpace probeImage probeChain verifyCopy readLink claim
   DOMAIN_GET_XML_DESC DOMAIN_GET_STATE DOMAIN_GET_BLOCK_JOB_INFO CONNECT_GET_VERSION`.split(/\s+/),
);

/** Where the images are moved to. */
export const TARGET_DEVICE = '2';

/** How long the target answers nothing at most, in milliseconds. */
const LONGEST_HANG_MS = 60_000;

/** How many turns promises get between two things that happen: what takes longer goes on beside what happens next. */
const TURNS = 12;
const TURN = Promise.resolve();

/** How many steps a schedule may take. The longest that end take some 3,000. */
const MOST_STEPS = 12_000;

/**
 * Everything that is outside of the engine, and the one scheduler that decides what happens next: a command that QEMU
 * executes, a reply that arrives, a step of a copy, a job or the guest, a timer. One seed, one order of events.
 */
export class World {
  readonly random: Random;
  readonly files: SimFiles;
  readonly guest: Guest;
  readonly migration: string;
  readonly trace: string[] = [];
  readonly tasks: Task[] = [];
  readonly connections: Set<Wire> = new Set();
  readonly owners: Map<string, Manager> = new Map();
  /** Which faults have happened at which effects. */
  readonly covered: Set<string> = new Set();
  qemu: SimQemu;
  /** Where the VM is one of libvirt. */
  libvirtd: SimLibvirtd | undefined;
  journal: JournalContents = EMPTY_JOURNAL;
  /** A write to the journal whose outcome nobody knows: it may be found there by the next process. */
  limbo: JournalContents | undefined;
  /** Milliseconds. */
  time = 0;
  manager: Manager = new Manager(0);
  /** Whether something has happened that could break a rule. */
  changed = true;
  /** The first rule that was broken. */
  breach: string | undefined;
  /** Called after each thing that happened. */
  onStep: () => void = () => undefined;
  /** Called before QEMU executes a command. */
  onCommand: (name: string, args: object) => void = () => undefined;
  /** Called when the manager is about to make a file of this name. */
  onFile: (path: string) => void = () => undefined;
  /** The storages are full, slow, or as they should be, until this time; the target answers nothing until `hangsUntil`. */
  fullUntil = 0;
  stalledUntil = 0;
  hangsUntil = 0;
  /** The next block that is copied is not what was read. */
  spoilt = false;
  /** What the user asks for at the next moment at which it can be asked. */
  onAsk: (what: 'abort' | 'leave' | 'pause' | 'resume') => void = () => undefined;
  readonly #timers: Timer[] = [];
  readonly #faults: readonly Fault[];
  readonly #keepTrace: boolean;
  readonly #canSpoil: boolean;
  #nextFault = 0;
  #pointsLeft: number;
  #managers = 0;
  #steps = 0;

  constructor({ seed, faults, files, behaviour, migration, keepTrace, canSpoil, ...guest }: WorldOptions) {
    this.random = seeded(seed);
    this.files = files;
    this.migration = migration;
    this.#faults = faults;
    this.#keepTrace = keepTrace;
    this.#canSpoil = canSpoil;
    this.#pointsLeft = faults[0]?.after ?? Number.POSITIVE_INFINITY;
    this.guest = new Guest(guest.writeRate, guest.skipWrites ?? new Set());
    this.qemu = new SimQemu(behaviour, files, this.random, {
      onJob: (job, status) => this.#onJob(job, status),
      onAcknowledged: (request) => {
        this.guest.acknowledged(request);
        this.say('guest', `write ${request.value} of ${request.disk}:${request.block} acknowledged`);
      },
      onBreach: (what) => this.broken(what),
    });
  }

  say(who: string, what: string): void {
    if (this.#keepTrace) this.trace.push(`${this.time.toFixed(1).padStart(9)}  ${who.padEnd(9)} ${what}`);
  }

  broken(what: string): void {
    if (this.breach !== undefined) return;
    this.breach = what;
    this.say('BROKEN', what);
  }

  /** How much has gone wrong so far. */
  get faultsMade(): number {
    return this.#nextFault;
  }

  committed(kind: CommitKind, contents: JournalContents = this.journal): boolean {
    return contents.records.get(`${this.migration} ${kind}`)?.verdict === 'commit';
  }

  // Faults.

  /**
   * Does one thing at which a fault may be injected. Kills throw `Killed` when they take the manager; other faults of this
   * kind of effect are made by `faulty`.
   */
  effect<T>({ manager, kind, name, detail }: Effect, act: () => T, faulty: Faulty<T>): T {
    if (!manager.alive) throw new Killed();
    if (kind !== 'journal' && !LOOKS.has(name)) this.changed = true;
    const fault = this.#due(kind, name);
    const what = this.#keepTrace ? `${name} ${detail?.() ?? ''}` : name;
    if (fault === undefined) {
      this.say(kind, what);
      return act();
    }
    this.covered.add(`${fault.kind} ${fault.when} ${kind} ${name}`);
    if (fault.kind.startsWith('kill')) return this.#killAt(fault, { manager, kind, name: what }, act);
    this.say('FAULT', `${fault.kind} (${fault.when}) at: ${kind} ${what}`);
    if (this.#happens(fault.kind)) return act();
    return faulty(fault, act);
  }

  #killAt<T>({ kind: killed, when }: Fault, { manager, kind, name }: Effect, act: () => T): T {
    this.say('FAULT', `${killed}, ${when}: ${kind} ${name}`);
    const result = when === 'after' ? act() : undefined;
    for (const { step, state } of this.journal.steps) {
      if (state === 'intended') this.covered.add(`died in ${step}`);
      if (state === 'undoing') this.covered.add(`died undoing ${step}`);
    }
    this.#kill(killed, manager);
    if (!manager.alive) throw new Killed();
    // A QEMU or libvirtd that is dead executes nothing; files and the journal do not need it.
    return when === 'after' || kind === 'qmp' || kind === 'libvirt' ? (result as T) : act();
  }

  /** Faults that are none of the effect's at which they happen. */
  #happens(fault: FaultKind): boolean {
    switch (fault) {
      case 'abort':
      case 'leave':
      case 'pause':
      case 'resume': {
        this.onAsk(fault);
        return true;
      }
      case 'full': {
        this.fullUntil = this.time + 5000;
        return true;
      }
      case 'stall': {
        this.stalledUntil = this.time + 20 + this.random.integer(LONGEST_STALL_MS);
        return true;
      }
      case 'hang': {
        this.hangsUntil = this.time + 20 + this.random.integer(LONGEST_HANG_MS);
        return true;
      }
      case 'spoil': {
        this.spoilt = this.#canSpoil;
        return true;
      }
      case 'target-error': {
        const jobs = [...this.qemu.jobs.values()];
        const job = jobs[this.random.integer(Math.max(1, jobs.length))];
        if (job) this.qemu.failJob(job);
        return true;
      }
      default: {
        return false;
      }
    }
  }

  #due(kind: Effect['kind'], name: string): Fault | undefined {
    const fault = this.#faults[this.#nextFault];
    if (fault === undefined || !name.includes(fault.at ?? '')) return undefined;
    this.#pointsLeft -= 1;
    if (this.#pointsLeft > 0 || !APPLIES[fault.kind].includes(kind)) return undefined;
    this.#nextFault += 1;
    this.#pointsLeft = this.#faults[this.#nextFault]?.after ?? Number.POSITIVE_INFINITY;
    return fault;
  }

  #kill(what: FaultKind, manager: Manager): void {
    const dies = DIE[what] ?? [];
    if (dies.includes('libvirtd')) this.libvirtd?.kill();
    if (dies.includes('QEMU')) this.killQemu();
    if (dies.includes('manager')) this.killManager(manager);
    if (what === 'kill-power') this.files.losePower(this.random);
  }

  killManager(manager: Manager): void {
    if (!manager.alive) return;
    manager.alive = false;
    // What nobody knew the outcome of is known to the next process.
    if (this.limbo && this.random.chance(0.5)) this.journal = this.limbo;
    this.limbo = undefined;
    for (const connection of this.connections) if (connection.manager === manager) connection.abandon(this.random);
    for (const [id, owner] of this.owners) if (owner === manager) this.owners.delete(id);
    remove(this.tasks, (task) => task.manager === manager);
    remove(this.#timers, (timer) => timer.manager === manager);
  }

  killQemu(): void {
    if (!this.qemu.alive) return;
    this.qemu.die();
    for (const connection of this.connections) connection.qemuGone?.();
  }

  /** QEMU executes a command, whoever has sent it. @throws FerryError QMP_COMMAND */
  execute(name: string, args: object): unknown {
    this.onCommand(name, args);
    return executeOn(this.qemu, name, args);
  }

  newManager(): Manager {
    this.#managers += 1;
    this.manager = new Manager(this.#managers);
    return this.manager;
  }

  // Time.

  after(ms: number, manager: Manager, wake: () => void): void {
    this.#timers.push({ at: this.time + Math.max(0, ms), manager, wake });
  }

  forget(wake: () => void): void {
    remove(this.#timers, (timer) => timer.wake === wake);
  }

  /** Lets things happen, one after the other, until the condition holds, or nothing more can happen, or a rule is broken. */
  async until(over: () => boolean): Promise<void> {
    for (;;) {
      for (let turn = 0; turn < TURNS; turn++) await TURN;
      this.onStep();
      if (over() || this.breach !== undefined) return;
      if (!this.#canStep()) await settled();
      if (over() || !this.#step()) return;
      this.#steps += 1;
      if (this.#steps > MOST_STEPS) return this.broken(`it does not end: ${MOST_STEPS} steps were taken`);
    }
  }

  /** Whether anything is under way that need not be waited for. */
  #canStep(): boolean {
    if (this.tasks.some(({ about }) => !this.hangs(about))) return true;
    for (const { canAdvance } of this.connections) if (canAdvance) return true;
    return false;
  }

  /** Makes one thing happen; false when there is nothing. */
  #step(): boolean {
    this.time += 0.05 + this.random.integer(10) / 20;
    const due = this.#earliest();
    const jobs = this.time < this.stalledUntil ? [] : this.qemu.alive ? this.#freeJobs() : [];
    const tasks = this.tasks.filter(({ about }) => !this.hangs(about));
    const live = [...this.connections].filter((connection) => connection.canAdvance);
    const writes = this.qemu.alive ? this.guest.choices(this.qemu, this.random) : [];
    const timerDue = due !== undefined && due.at <= this.time;
    const weights = [live.length * 6, tasks.length * 6, jobs.length * 3, writes.length * 2, timerDue ? 6 : 0];
    let at = this.random.integer(weights.reduce((sum, weight) => sum + weight, 0));
    const chosen = weights.findIndex((weight) => (at -= weight) < 0);
    if (chosen === 0) live[this.random.integer(live.length)]?.advance();
    else if (chosen === 1) this.#advanceTask(tasks[this.random.integer(tasks.length)]);
    else if (chosen === 2) this.#advanceJob(jobs[this.random.integer(jobs.length)]);
    else if (chosen === 3) this.#advanceGuest(writes);
    else if (due) this.#fire(due);
    else return this.#waitForStall();
    return true;
  }

  #advanceTask(task: Task | undefined): void {
    if (task?.step()) remove(this.tasks, (other) => other === task);
  }

  #advanceGuest(writes: readonly (() => void)[]): void {
    this.changed = true;
    writes[this.random.integer(writes.length)]?.();
  }

  #advanceJob(job: Job | undefined): void {
    this.changed = true;
    if (job) this.qemu.advance(job);
  }

  #fire(timer: Timer): void {
    // While jobs stand still, time passes until they go on or somebody loses patience.
    this.time = Math.max(this.time, timer.at);
    remove(this.#timers, (other) => other === timer);
    timer.wake();
  }

  #waitForStall(): boolean {
    const until = [this.stalledUntil, this.hangsUntil].filter((at) => at > this.time);
    if (until.length === 0) return false;
    this.time = Math.min(...until);
    return true;
  }

  /** Mirrors wait for a target that hangs. Folds do not: after the swap it is the guest that waits for its own storage. */
  #freeJobs(): readonly Job[] {
    if (this.time >= this.hangsUntil) return this.qemu.busyJobs();
    // What there is to copy is asked of the source, and one that is cut off from the target ends.
    return this.qemu
      .busyJobs()
      .filter(
        ({ type, target, looked, status }) =>
          type !== 'mirror' || target.inode.device !== TARGET_DEVICE || !looked || status === 'aborting',
      );
  }

  /** Whether what works on this file waits for the target. */
  hangs(path: string): boolean {
    const { devices } = this.files;
    return this.time < this.hangsUntil && (devices.get(path) ?? devices.get(dirname(path))) === TARGET_DEVICE;
  }

  /** Lets the time pass until the target answers. */
  awaitTarget(): void {
    this.time = Math.max(this.time, this.hangsUntil);
  }

  #earliest(): Timer | undefined {
    let first: Timer | undefined;
    for (const timer of this.#timers) if (!first || timer.at < first.at) first = timer;
    return first;
  }

  #onJob(job: Job, status: string): void {
    this.say('job', `${job.id} ${status}${job.error === undefined ? '' : ` (${job.error})`}`);
    for (const connection of this.connections) connection.jobChanged?.(job, status);
  }
}

/** Something that a manager does outside of itself. */
export interface Effect {
  readonly manager: Manager;
  readonly kind: 'qmp' | 'libvirt' | 'host' | 'journal';
  readonly name: string;
  readonly detail?: () => string;
}

/** Makes a fault that is not a kill: does the act or not, and throws or not. */
export type Faulty<T> = (fault: Fault, act: () => T) => T;

const DIE: { readonly [kind in FaultKind]?: readonly ('manager' | 'QEMU' | 'libvirtd')[] } = {
  'kill-manager': ['manager'],
  'kill-qemu': ['QEMU'],
  'kill-both': ['QEMU', 'manager'],
  'kill-power': ['libvirtd', 'QEMU', 'manager'],
  'kill-libvirtd': ['libvirtd'],
  'kill-libvirtd-manager': ['libvirtd', 'manager'],
  'kill-libvirtd-qemu': ['libvirtd', 'QEMU'],
  'kill-all': ['libvirtd', 'QEMU', 'manager'],
};

const EVERYWHERE = ['qmp', 'libvirt', 'host', 'journal'] as const;
const APPLIES: { readonly [kind in FaultKind]: readonly string[] } = {
  'kill-manager': EVERYWHERE,
  'kill-qemu': EVERYWHERE,
  'kill-both': EVERYWHERE,
  'kill-power': EVERYWHERE,
  'kill-libvirtd': EVERYWHERE,
  'kill-libvirtd-manager': EVERYWHERE,
  'kill-libvirtd-qemu': EVERYWHERE,
  'kill-all': EVERYWHERE,
  error: EVERYWHERE,
  'unknown-outcome': ['qmp', 'libvirt', 'journal'],
  full: ['host'],
  stall: ['qmp', 'libvirt'],
  hang: EVERYWHERE,
  'target-error': ['qmp', 'libvirt'],
  spoil: ['host'],
  // In the middle of a write to the journal nobody can ask for anything.
  abort: ['qmp', 'libvirt', 'host'],
  leave: ['qmp', 'libvirt', 'host'],
  pause: ['qmp', 'libvirt', 'host'],
  resume: ['qmp', 'libvirt', 'host'],
};

/** Resolves when every promise that could go on has gone on. */
function settled(): Promise<void> {
  return new Promise((resolve) => void setImmediate(resolve));
}

function remove<T>(list: T[], which: (item: T) => boolean): void {
  const at = list.findIndex(which);
  if (at < 0) return;
  list.splice(at, 1);
  remove(list, which);
}
