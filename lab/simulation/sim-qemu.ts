import { ferryError, type FerryError } from '../../src/base/index.ts';
import { resolveBackingName } from '../../src/image/index.ts';
import type { CommandArguments } from '../../src/qmp/index.ts';
import type { Random } from '../torture/random.ts';
import { type Inode, NOTHING, type SimFiles, sync, write } from './sim-files.ts';

/** What the two QEMUs of the test matrix do differently (`qemu-facts`, and the tests of `lab/protocol*.integ.ts`). */
export interface Behaviour {
  /** One drained disk holds every disk of the VM (7.2), or only itself. */
  readonly holdsAll: boolean;
  /** Writes that are under way while a mirror or commit starts are never copied, and nothing says so (8.2 to 10.1). */
  readonly missesWrites: boolean;
  /** The disks are in an I/O thread. */
  readonly ioThread: boolean;
}

export const BEHAVIOUR: { readonly [build in '7.2' | '10.0']: Behaviour } = {
  '7.2': { holdsAll: true, missesWrites: false, ioThread: false },
  '10.0': { holdsAll: false, missesWrites: true, ioThread: false },
};

export interface Node {
  readonly name: string;
  readonly driver: string;
  /** Where the file was when it was opened. */
  readonly path: string;
  readonly inode: Inode;
  backing: Node | undefined;
  readonly file: Node | undefined;
  /** Made by `blockdev-add`, so it stays until `blockdev-del`; others go with the last that stands on them. */
  owned: boolean;
}

/** A guest's write that QEMU has taken and not answered. */
export interface GuestWrite {
  readonly disk: string;
  readonly block: number;
  readonly value: number;
}

export interface Job {
  readonly id: string;
  readonly type: 'mirror' | 'commit';
  readonly source: Node;
  readonly target: Node;
  status: 'running' | 'ready' | 'waiting' | 'pending' | 'aborting' | 'concluded';
  /** Whether it has looked at what there is to copy. */
  looked: boolean;
  readonly dirty: Set<number>;
  completing: boolean;
  /** It swaps as soon as it has drained (`auto-finalize`); others wait in `pending`. */
  readonly swapsItself: boolean;
  copied: number;
  error?: string;
  /** Writes that it does not see. */
  readonly misses: Set<GuestWrite>;
}

export interface QemuHooks {
  /** Told of each change of a job. */
  readonly onJob: (job: Job, status: string) => void;
  /** A guest's write is answered. */
  readonly onAcknowledged: (write: GuestWrite) => void;
  /** Told of what must not happen. */
  readonly onBreach: (what: string) => void;
}

/** One QEMU process: the part of its block layer that a migration meets. Obeys `qemu-facts`; compared with real ones. */
export class SimQemu {
  alive = true;
  status: 'running' | 'paused' = 'running';
  readonly behaviour: Behaviour;
  readonly nodes: Map<string, Node> = new Map();
  /** By disk, the node that it is attached to. */
  readonly disks: Map<string, Node> = new Map();
  readonly jobs: Map<string, Job> = new Map();
  readonly underWay: Set<GuestWrite> = new Set();
  readonly #files: SimFiles;
  readonly #random: Random;
  readonly #hooks: QemuHooks;
  /** Nodes that were the source of a swap: nothing may be cancelled any more in the group. */
  readonly #swapped: Set<string> = new Set();
  #implicit = 100;

  constructor(behaviour: Behaviour, files: SimFiles, random: Random, hooks: QemuHooks) {
    this.behaviour = behaviour;
    this.#files = files;
    this.#random = random;
    this.#hooks = hooks;
  }

  /** Plugs in a disk, as the command line does. `nodes`: names from the active image down; `#…` are QEMU's own. */
  plug(disk: string, path: string, names: readonly string[]): void {
    let below: Node | undefined;
    for (const [level, inode] of [...this.#files.chain(path).entries()].toReversed()) {
      if (!inode) throw new Error(`the chain of ${path} is broken`);
      const name = names[level] ?? this.#implicitName();
      below = this.#add({ name, path: this.#files.nameOf(inode), inode, backing: below, owned: !name.startsWith('#') });
    }
    if (below) this.disks.set(disk, below);
  }

  // What the guest and the jobs do by themselves.

  /** Whether the guest's requests to this disk wait. */
  isHeld(disk: string): boolean {
    const drained = [...this.jobs.values()].filter(({ status }) => status === 'waiting' || status === 'pending');
    if (this.behaviour.holdsAll && drained.length > 0) return true;
    return drained.some(({ source }) => source === this.disks.get(disk));
  }

  /** Whether any disk is held, or the processors are stopped. */
  get guestWaits(): boolean {
    return this.status !== 'running' || [...this.disks.keys()].some((disk) => this.isHeld(disk));
  }

  /** The guest writes: QEMU takes it. */
  take(request: GuestWrite): void {
    this.underWay.add(request);
  }

  /** QEMU has done it: what is written is in the active image, and on its storage (the guest asked for that). */
  finish(request: GuestWrite): void {
    this.underWay.delete(request);
    const active = this.disks.get(request.disk);
    if (!active) return;
    write(active.inode, request.block, request.value);
    sync(active.inode);
    for (const job of this.jobs.values()) {
      if (job.source === active && job.looked && !job.misses.has(request) && isLive(job)) job.dirty.add(request.block);
    }
    this.#hooks.onAcknowledged(request);
  }

  /** Jobs that could do something now. */
  busyJobs(): readonly Job[] {
    return [...this.jobs.values()].filter((job) => this.#canAdvance(job));
  }

  #canAdvance(job: Job): boolean {
    if (job.status === 'waiting' || job.status === 'aborting') return true;
    if (job.status === 'running') return true;
    if (job.status !== 'ready') return false;
    if (job.dirty.size > 0) return true;
    return job.completing && ![...this.underWay].some(({ disk }) => this.disks.get(disk) === job.source);
  }

  /** A job does the next little thing. */
  advance(job: Job): void {
    if (job.status === 'aborting') return this.#conclude(job, job.error ?? 'Operation canceled');
    if (job.status === 'waiting' && job.swapsItself) return this.#swap(job);
    if (job.status === 'waiting') return this.#change(job, 'pending');
    if (!job.looked) return this.#look(job);
    const [block] = job.dirty;
    if (block !== undefined) {
      job.dirty.delete(block);
      job.copied += 1;
      const value = job.source.inode.now.blocks[block] ?? NOTHING;
      if (value !== NOTHING) write(job.target.inode, block, value);
    } else if (job.status === 'running') {
      this.#change(job, 'ready');
    } else if (job.completing) {
      // Drained: the guest's requests wait from here on, and what was copied is brought to the storage.
      sync(job.target.inode);
      this.#change(job, 'waiting');
    }
    return undefined;
  }

  /** What is allocated in the source has to be copied; writes that are under way now are seen, or not. */
  #look(job: Job): void {
    job.looked = true;
    for (const [block, value] of job.source.inode.now.blocks.entries()) if (value !== NOTHING) job.dirty.add(block);
    if (!this.behaviour.missesWrites) return;
    for (const request of this.underWay) if (this.disks.get(request.disk) === job.source) job.misses.add(request);
  }

  #change(job: Job, status: Job['status']): void {
    job.status = status;
    this.#hooks.onJob(job, status);
  }

  #conclude(job: Job, error?: string): void {
    if (error !== undefined) job.error = error;
    this.#change(job, 'concluded');
  }

  /** The target gives an error: a job that has not drained yet ends. */
  failJob(job: Job): void {
    if (job.status !== 'running' && job.status !== 'ready') return;
    job.error = 'Input/output error';
    this.#change(job, 'aborting');
  }

  die(): void {
    this.alive = false;
    for (const request of this.underWay) {
      // It may have been written and not been answered.
      const active = this.disks.get(request.disk);
      if (active && this.#random.chance(0.5)) write(active.inode, request.block, request.value);
    }
    this.underWay.clear();
  }

  opens(inode: Inode): boolean {
    return this.alive && [...this.nodes.values()].some((node) => node.inode === inode);
  }

  /** Whether it has an image open for writing. */
  writes(inode: Inode): boolean {
    if (!this.alive) return false;
    if ([...this.disks.values()].some((node) => node.inode === inode)) return true;
    return [...this.jobs.values()].some((job) => isLive(job) && job.target.inode === inode);
  }

  /** What the guest reads. */
  read(disk: string, block: number): number {
    for (let node = this.disks.get(disk); node; node = node.backing) {
      const value = node.inode.now.blocks[block] ?? NOTHING;
      if (value !== NOTHING) return value;
    }
    return NOTHING;
  }

  // QMP commands. Each does all of it or throws QMP_COMMAND.

  addNode(options: CommandArguments<'blockdev-add'>): void {
    const { driver } = options;
    const name = options['node-name'] ?? this.#implicitName();
    if (driver !== 'qcow2' && driver !== 'raw') throw refusal('blockdev-add', `no model of a ${driver} node`);
    if (typeof options.file === 'string') throw refusal('blockdev-add', 'no model of a file node of its own');
    if (this.nodes.has(name)) throw refusal('blockdev-add', `Duplicate nodes with node-name='${name}'`);
    const path = 'filename' in options.file ? options.file.filename : '';
    const inode = this.#files.open(path);
    if (!inode) throw refusal('blockdev-add', `Could not open '${path}': No such file or directory`);
    if (inode.format !== driver) throw refusal('blockdev-add', `Image is not in ${driver} format`);
    const given = driver === 'qcow2' && 'backing' in options ? options.backing : undefined;
    const below =
      driver === 'raw' || given === null
        ? undefined
        : typeof given === 'string'
          ? this.#need('blockdev-add', given)
          : this.#openBacking(path, inode);
    const fileNode = options.file['node-name'];
    this.#add({ name, path, inode, backing: below, owned: true, ...(fileNode !== undefined && { fileNode }) });
  }

  #openBacking(path: string, { now }: Inode): Node | undefined {
    if (now.backing === undefined) return undefined;
    const below = resolveBackingName(path, now.backing.name);
    const inode = this.#files.open(below);
    if (!inode) throw refusal('blockdev-add', `Could not open backing file: Could not open '${below}': No such file`);
    const backing = this.#openBacking(below, inode);
    return this.#add({ name: this.#implicitName(), path: below, inode, backing, owned: false });
  }

  #implicitName(): string {
    this.#implicit += 1;
    return `#block${this.#implicit}`;
  }

  #add({ fileNode, ...of }: Omit<Node, 'driver' | 'file'> & { readonly fileNode?: string }): Node {
    const { path, inode } = of;
    const name = fileNode ?? this.#implicitName();
    const file: Node = { name, driver: 'file', path, inode, backing: undefined, file: undefined, owned: false };
    const node: Node = { ...of, driver: inode.format, file };
    this.nodes.set(file.name, file);
    this.nodes.set(node.name, node);
    return node;
  }

  #need(command: string, name: string): Node {
    const node = this.nodes.get(name);
    if (!node) throw refusal(command, `Cannot find device='' nor node-name='${name}'`);
    return node;
  }

  deleteNode(name: string): void {
    const node = this.#need('blockdev-del', name);
    if (!node.owned) throw refusal('blockdev-del', `Node ${name} is not owned by the monitor`);
    if (this.#isUsed(node)) throw refusal('blockdev-del', `Node ${name} is in use`);
    node.owned = false;
    this.#drop();
  }

  #isUsed(node: Node): boolean {
    for (const other of this.nodes.values()) if (other.backing === node || other.file === node) return true;
    for (const attached of this.disks.values()) if (attached === node) return true;
    for (const job of this.jobs.values())
      if (job.status !== 'concluded' && (job.source === node || job.target === node)) return true;
    return false;
  }

  /** Nodes that nobody owns go with the last that stood on them. */
  #drop(): void {
    for (;;) {
      const unused = [...this.nodes.values()].filter((node) => !node.owned && !this.#isUsed(node));
      if (unused.length === 0) return;
      for (const node of unused) this.nodes.delete(node.name);
    }
  }

  snapshot(pairs: readonly { readonly node: string; readonly overlay: string }[]): void {
    const found = pairs.map(({ node, overlay }) => ({
      base: this.#need('transaction', node),
      overlay: this.#need('transaction', overlay),
    }));
    const targets = new Set([...this.jobs.values()].map(({ target }) => target));
    for (const { overlay } of found) {
      if (overlay.backing) throw refusal('transaction', 'The overlay already has a backing image');
      // A mirror that was opened on nothing may be put on a chain later.
      if (this.#isUsed(overlay) && !targets.has(overlay)) throw refusal('transaction', 'The overlay is already in use');
    }
    for (const { base, overlay } of found) {
      for (const [disk, attached] of this.disks) if (attached === base) this.disks.set(disk, overlay);
      for (const node of this.nodes.values()) if (node.backing === base) node.backing = overlay;
      overlay.backing = base;
    }
  }

  startMirror(args: CommandArguments<'blockdev-mirror'>): void {
    const { 'job-id': id = '', device, target, 'auto-finalize': swapsItself = true } = args;
    const [source, to] = [this.#need('blockdev-mirror', device), this.#need('blockdev-mirror', target)];
    if ([...this.disks.values()].includes(to)) throw refusal('blockdev-mirror', `Node ${target} is in use`);
    this.#start({ id, type: 'mirror', source, target: to, swapsItself });
  }

  startCommit(args: CommandArguments<'block-commit'>): void {
    const source = this.#need('block-commit', args.device);
    const base = this.#need('block-commit', args['base-node'] ?? '');
    let below = source.backing;
    while (below && below !== base) below = below.backing;
    if (!below) throw refusal('block-commit', `'${base.name}' is not in this backing chain`);
    const { 'job-id': id = '', 'auto-finalize': swapsItself = true } = args;
    this.#start({ id, type: 'commit', source, target: base, swapsItself });
  }

  #start(job: Pick<Job, 'id' | 'type' | 'source' | 'target' | 'swapsItself'>): void {
    if (this.jobs.has(job.id)) throw refusal(job.type, `Job ID '${job.id}' already in use`);
    if ([...this.jobs.values()].some((other) => isLive(other) && other.source === job.source))
      throw refusal(job.type, `Node '${job.source.name}' is busy: block device is in use by block job`);
    const begun: Job = {
      ...job,
      status: 'running',
      looked: false,
      dirty: new Set(),
      completing: false,
      copied: 0,
      misses: new Set(),
    };
    this.jobs.set(job.id, begun);
    this.#hooks.onJob(begun, 'created');
    this.#hooks.onJob(begun, 'running');
  }

  #job(command: string, id: string, ...states: readonly Job['status'][]): Job {
    const job = this.jobs.get(id);
    if (!job) throw refusal(command, 'Job not found');
    if (states.includes(job.status)) return job;
    throw refusal(command, `Job '${id}' in state '${job.status}' cannot accept command verb '${command}'`);
  }

  complete(id: string): void {
    this.#job('job-complete', id, 'ready').completing = true;
  }

  finalize(id: string): void {
    this.#swap(this.#job('job-finalize', id, 'pending'));
  }

  #swap(job: Job): void {
    for (const [disk, node] of this.disks) if (node === job.source) this.disks.set(disk, job.target);
    if (job.type === 'mirror')
      for (const node of this.nodes.values()) if (node.backing === job.source) node.backing = job.target;
    this.#swapped.add(groupOf(job.id));
    this.#conclude(job);
    this.#drop();
  }

  cancel(id: string): void {
    const job = this.#job('job-cancel', id, 'running', 'ready', 'waiting', 'pending');
    if (this.#swapped.has(groupOf(id)))
      this.#hooks.onBreach(`${id} was cancelled after a job of its group was finalized`);
    job.error = 'Operation canceled';
    this.#change(job, 'aborting');
  }

  dismiss(id: string): void {
    this.#job('job-dismiss', id, 'concluded');
    this.jobs.delete(id);
    if ([...this.jobs.keys()].every((other) => groupOf(other) !== groupOf(id))) this.#swapped.delete(groupOf(id));
    this.#drop();
  }

  /** Under a mirror that is not held QEMU loses writes, or dies: one block of what is to be copied is forgotten. */
  reopen({ options }: CommandArguments<'blockdev-reopen'>): void {
    const changes = options.map((option) => {
      const node = this.#need('blockdev-reopen', option['node-name'] ?? '');
      const given = 'backing' in option ? option.backing : undefined;
      return { node, below: typeof given === 'string' ? this.#need('blockdev-reopen', given) : undefined };
    });
    for (const { node, below } of changes) {
      const job = [...this.jobs.values()].find(({ target }) => target === node);
      if (job && job.status !== 'pending') {
        job.dirty.clear();
        this.#hooks.onBreach(`${node.name} was reopened while ${job.id} was ${job.status}`);
      }
      node.backing = below;
    }
    this.#drop();
  }

  /** All that is under way is done first. QEMU dies of it while a fold, or with an I/O thread any job, is in its last drain. */
  stop(): void {
    for (const { id, type, completing, status } of this.jobs.values()) {
      if (completing && status === 'ready' && (this.behaviour.ioThread || type === 'commit'))
        this.#hooks.onBreach(`stop in the last drain of ${id}: QEMU dies`);
    }
    for (const request of this.underWay) this.finish(request);
    this.status = 'paused';
  }

  resume(): void {
    this.status = 'running';
  }
}

/** Jobs of one group differ in the number at the end of their name. */
function groupOf(job: string): string {
  return job.replace(/\d+$/, '');
}

function isLive({ status }: Job): boolean {
  return status !== 'concluded' && status !== 'aborting';
}

function refusal(command: string, desc: string): FerryError {
  return ferryError('QMP_COMMAND', { command, desc, class: 'GenericError' });
}
