import { type Clock, isFerryError, messageOf } from '../../src/base/index.ts';
import {
  Migration,
  type MigrationDeps,
  type MigrationEvent,
  type MigrationJournal,
  type Outcome,
  recoverOffline,
} from '../../src/migration/index.ts';
import { QemuVm, type VirtualMachine } from '../../src/vm/index.ts';
import { LibvirtVm } from '../../src/vm/libvirt/index.ts';
import type { DomainReach } from '../../src/vm/libvirt/reach.ts';
import { random } from '../torture/random.ts';
import type { KnownDisk } from './domain-belief.ts';
import { drawFaults, type Fault, withHang } from './fault.ts';
import { MemoryJournal } from './memory-journal.ts';
import { Rules } from './rules.ts';
import { drawLayout, type Layout, makeScene, type Scene } from './scene.ts';
import { simClock } from './sim-clock.ts';
import { probe, simHost } from './sim-host.ts';
import { simJournalStore } from './sim-journal-store.ts';
import { DOMAIN, simReach } from './sim-libvirt-client.ts';
import { SimLibvirtd } from './sim-libvirtd.ts';
import { dialler } from './sim-monitor.ts';
import { Manager, World } from './world.ts';

/** How often recovery is tried in which nothing goes wrong. */
const TRIES = 4;
/** How long it takes until a command that was typed does something, in milliseconds. */
const STARTS_IN_MS = 300;
/** How much happens until a person has shut a VM down. */
const STEPS_BEFORE_END = 40;

/** What a planted bug changes of the engine's surroundings, for each manager anew. */
export interface Parts {
  readonly steps?: MigrationDeps['steps'];
  readonly wrap?: (surroundings: Surroundings) => Surroundings;
  /** Changes a command before it is sent; undefined: it is not sent, and answered all the same. */
  readonly command?: (name: string, args: object) => object | undefined;
  /** Changes how a domain of libvirt is reached. */
  readonly reach?: (real: DomainReach) => DomainReach;
}

export interface Surroundings {
  readonly vm: VirtualMachine;
  readonly journal: MigrationJournal;
}

export interface ScheduleOptions {
  readonly seed: number;
  /** What of the VM and the request is not left to the seed. */
  readonly layout?: Partial<Layout>;
  /** In place of the faults that the seed gives. */
  readonly faults?: readonly Fault[];
  readonly skipWrites?: ReadonlySet<number>;
  readonly keepTrace?: boolean;
  readonly parts?: Parts;
}

export interface ScheduleResult {
  readonly seed: number;
  /** What was asked for of the VM and the request. */
  readonly layout: Partial<Layout>;
  readonly about: string;
  readonly faults: readonly Fault[];
  /** The rule that was broken. */
  readonly breach?: string;
  readonly end?: 'done' | 'rolled-back' | 'nothing begun';
  readonly covered: ReadonlySet<string>;
  readonly trace: readonly string[];
}

/** One of 100, where nothing else is asked for: such a schedule takes almost three times as long as another. */
function isOfLibvirt(seed: number): boolean {
  return seed % 100 === 10;
}

/** One migration of one simulated VM, with everything that goes wrong in it, until it has come to an end. */
export async function runSchedule(options: ScheduleOptions): Promise<ScheduleResult> {
  const { seed, parts = {} } = options;
  const draw = random(seed * 2 + 1);
  const layout = drawLayout(draw, { libvirt: isOfLibvirt(seed), ...options.layout });
  const scene = makeScene(layout, draw);
  // Drawn in any case, so that what is drawn after it is the same.
  const drawn = drawFaults(draw, layout.libvirt);
  const writeRate = draw.pick([0, 0.05, 0.15, 0.15, 0.4]);
  const faults = options.faults ?? (draw.chance(0.2) ? withHang(drawn, draw) : drawn);
  const { files, behaviour, plan } = scene;
  const world = new World({
    seed,
    faults,
    files,
    behaviour,
    writeRate,
    migration: plan.id,
    keepTrace: options.keepTrace ?? false,
    canSpoil: plan.request.verify,
    ...(options.skipWrites && { skipWrites: options.skipWrites }),
  });
  for (const { id, path, nodes } of scene.disks) world.qemu.plug(id, path, nodes);
  if (layout.libvirt) world.libvirtd = new SimLibvirtd(world, DOMAIN.uuid, knownDisks(scene));
  const rules = new Rules(world, scene);
  const end = await new Run(world, scene, rules, parts).toItsEnd();
  if (faults.length === 0 && end !== 'done') world.broken(`nothing went wrong, and it ended ${end}`);
  if (end === 'done' || end === 'rolled-back') {
    await world.until(() => world.qemu.underWay.size === 0);
    if (world.breach === undefined) rules.checkEnd(end);
  }
  return {
    seed,
    layout: options.layout ?? {},
    about: scene.about,
    faults,
    covered: world.covered,
    trace: world.trace,
    ...(world.breach !== undefined && { breach: world.breach }),
    ...(end !== undefined && { end }),
  };
}

/** What libvirt knows of disks that it has started a VM with. */
function knownDisks({ disks, files }: Scene): readonly KnownDisk[] {
  return disks.map(({ id, path, nodes }) => ({
    target: id,
    images: probe(files, path).map((image, level) => ({
      path: image.path,
      format: image.format === 'qcow2' ? 'qcow2' : 'raw',
      node: nodes[level] ?? '',
    })),
  }));
}

/** One manager after the other drives the migration, as the command line would. */
class Run {
  readonly #world: World;
  readonly #scene: Scene;
  readonly #rules: Rules;
  /** Who types the commands: alive, whatever dies. */
  readonly #person: Manager = new Manager(-2);
  readonly #parts: Parts;
  /** What the last outcome wants a person for. */
  #needs: string | undefined;

  constructor(world: World, scene: Scene, rules: Rules, parts: Parts) {
    this.#world = world;
    this.#scene = scene;
    this.#rules = rules;
    this.#parts = parts;
  }

  async toItsEnd(): Promise<ScheduleResult['end']> {
    const world = this.#world;
    await this.#drive((deps) => Migration.begin(this.#scene.plan, deps));
    let faults = world.faultsMade;
    for (let tries = 0; world.breach === undefined; ) {
      const row = world.journal.migrations.get(this.#scene.plan.id);
      if (row === undefined) return 'nothing begun';
      if (row.state === 'done' || row.state === 'rolled-back') return row.state;
      if (faults === world.faultsMade) tries += 1;
      faults = world.faultsMade;
      if (tries > TRIES)
        world.broken(`recovery has not ended it in ${TRIES} tries (${row.state}: ${row.message ?? ''})`);
      else await this.#recover();
      // A person tries again at once, or when the storage answers.
      if (world.time < world.hangsUntil && world.random.chance(0.5)) world.awaitTarget();
    }
    return undefined;
  }

  async #recover(): Promise<void> {
    const world = this.#world;
    await this.#untilCalm();
    if (world.qemu.alive && this.#isBeyondLibvirt()) await this.#endQemu();
    this.#needs = undefined;
    const back = world.random.chance(0.3) && !world.committed('pivot');
    world.say('manager', `recover${back ? ' --back' : ''} (${world.qemu.alive ? 'QEMU runs' : 'QEMU is gone'})`);
    if (world.qemu.alive) {
      await this.#drive(async (deps) => {
        const migration = await Migration.takeOver(this.#scene.plan.id, deps);
        if (back) migration.control.abort();
        return migration;
      });
    } else {
      await this.#offline();
    }
  }

  /** A command takes a while to be started, and libvirtd to come back; calls that were sent before are carried out meanwhile. */
  async #untilCalm(): Promise<void> {
    const world = this.#world;
    const { libvirtd } = world;
    if (libvirtd === undefined) return;
    const until = world.time + STARTS_IN_MS;
    world.after(STARTS_IN_MS, this.#person, () => undefined);
    await world.until(() => libvirtd.up && (!libvirtd.canAdvance || world.time >= until));
  }

  /** Whether libvirt knows of the VM no more, or not what it runs on, so that nothing but its end helps. */
  #isBeyondLibvirt(): boolean {
    const { libvirtd } = this.#world;
    if (libvirtd === undefined) return false;
    if (libvirtd.forgotten) return true;
    if (libvirtd.wasKilled && (this.#needs === 'JOB_UNRECORDED' || this.#needs === 'NOT_TAKEN_BACK')) return true;
    if (this.#needs !== 'SNAPSHOT_UNRECORDED') return false;
    if (this.#rules.libvirtIsRight()) this.#world.broken('it says that libvirt does not know of a file, which it does');
    return true;
  }

  /** The person does as the message says. The guest writes on until then. */
  async #endQemu(): Promise<void> {
    const world = this.#world;
    let steps = 0;
    await world.until(() => (steps += 1) > STEPS_BEFORE_END);
    world.say('person', 'shuts the VM down');
    world.killQemu();
  }

  async #drive(begin: (deps: MigrationDeps) => Promise<Migration>): Promise<void> {
    const world = this.#world;
    const manager = world.newManager();
    const faults = world.faultsMade;
    // Whoever takes over frees a guest that is held first of all; unless something goes wrong just then.
    const waited = world.qemu.guestWaits;
    let ended = false;
    const drive = async (): Promise<Outcome> => {
      const clock = simClock(world, manager);
      const vm = await this.#connect(manager, clock);
      const migration = await begin({
        ...this.#surroundings(manager, vm),
        clock,
        host: simHost(world, manager),
        ...(this.#parts.steps && { steps: this.#parts.steps }),
        onEvent: (event) => this.#onEvent(manager, event),
      });
      world.onAsk = (what) => {
        // The control socket refuses an abort that comes too late.
        if (what === 'abort' && world.committed('pivot')) return;
        if (manager.alive) migration.control[what]();
      };
      if (!manager.alive) return await new Promise(() => undefined);
      if (
        waited &&
        faults === world.faultsMade &&
        world.qemu.alive &&
        world.qemu.guestWaits &&
        this.#rules.libvirtIsClear() &&
        // libvirt has no call that gives up a pivot.
        !(world.libvirtd && world.time < world.hangsUntil)
      )
        world.broken('taken over, and the guest still waits');
      const outcome = await migration.run();
      await migration[Symbol.asyncDispose]();
      return outcome;
    };
    void drive().then(
      (outcome) => {
        if (!manager.alive) return;
        world.say('manager', `${outcome.kind}: ${outcome.message}`);
        if (outcome.kind === 'attention') this.#needs = outcome.cause.code;
        if (outcome.kind === 'attention' && outcome.cause.code === 'INTERNAL')
          world.broken(`the engine failed: ${outcome.cause.message}`);
        ended = true;
      },
      (error: unknown) => {
        this.#threw(manager, error);
        ended = true;
      },
    );
    await world.until(() => ended || !manager.alive);
    // A process that ends takes with it what it had under way.
    world.killManager(manager);
    world.onAsk = () => undefined;
  }

  async #connect(manager: Manager, clock: Clock): Promise<VirtualMachine> {
    const world = this.#world;
    const { libvirtd } = world;
    if (libvirtd) {
      const reach = simReach(world, libvirtd, manager);
      return await LibvirtVm.over(this.#parts.reach?.(reach) ?? reach, clock);
    }
    return await QemuVm.over(dialler(world, manager, this.#parts.command), clock);
  }

  async #offline(): Promise<void> {
    const world = this.#world;
    const manager = world.newManager();
    let ended = false;
    void recoverOffline(this.#scene.plan.id, {
      journal: this.#surroundings(manager).journal,
      host: simHost(world, manager),
      onEvent: (event) => this.#onEvent(manager, event),
    }).then(
      () => (ended = true),
      (error: unknown) => {
        this.#threw(manager, error);
        ended = true;
      },
    );
    await world.until(() => ended || !manager.alive);
    world.killManager(manager);
  }

  /** @param vm left out where there is none any more */
  #surroundings(manager: Manager, vm?: VirtualMachine): Surroundings {
    const journal = new MemoryJournal(simJournalStore(this.#world, manager));
    const real = { vm: vm ?? ({} as VirtualMachine), journal };
    return this.#parts.wrap?.(real) ?? real;
  }

  #onEvent(manager: Manager, event: MigrationEvent): void {
    if (!manager.alive) return;
    if (event.type === 'step') this.#world.covered.add(`step ${event.step} ${event.state}`);
    if (event.type === 'failed') {
      this.#world.say('manager', `${event.step} failed: ${event.code} ${event.message}`);
      if (event.code === 'INTERNAL') this.#world.broken(`the engine failed: ${event.message}`);
    }
    if (event.type === 'warning') this.#world.say('manager', `warning: ${event.message}`);
  }

  /** A command that ends with an error is tried again; one that ends with a bug is a bug. */
  #threw(manager: Manager, error: unknown): void {
    if (!manager.alive) return;
    this.#world.say('manager', `threw ${messageOf(error)}`);
    const known = isFerryError(error) ? error.code !== 'INTERNAL' : messageOf(error).startsWith('EIO: simulated');
    if (!known) this.#world.broken(`the engine threw: ${error instanceof Error ? error.stack : String(error)}`);
  }
}
