import { dirname } from 'node:path';
import { hiddenNames } from '../../src/migration/recovery/hidden-images.ts';
import type { CommitKind } from '../../src/journal/index.ts';
import { parseJobName } from '../../src/vm/libvirt/job-name.ts';
import type { CommandArguments } from '../../src/qmp/index.ts';
import { offlineVerdict } from '../../src/migration/recovery/offline-verdict.ts';
import { voidMark } from '../../src/migration/swap/commit-record.ts';
import type { JournalContents } from './memory-journal.ts';
import { inFolder, type Scene, SOURCE, TARGET } from './scene.ts';
import { readChain } from './sim-files.ts';
import { TARGET_DEVICE, type World } from './world.ts';

/** The longest that the guest may wait because of a manager that lives, in milliseconds: the limit of the hold, and a little. */
const LONGEST_WAIT_MS = 11_000;

/** What has to be true after every single thing that happens. The first rule that is broken ends the schedule. */
export class Rules {
  readonly #world: World;
  readonly #scene: Scene;
  // Names that follow from the plan: they are asked for after every effect.
  readonly #hidden: ReadonlyMap<string, string>;
  readonly #marks: Readonly<Record<CommitKind, string>>;
  #waitsSince: number | undefined;
  #waiter: unknown;
  #checked: JournalContents | undefined;

  constructor(world: World, scene: Scene) {
    this.#world = world;
    this.#scene = scene;
    const { plan } = scene;
    this.#hidden = hiddenNames(plan);
    this.#marks = {
      pivot: voidMark(plan, 'pivot'),
      fold: voidMark(plan, 'fold'),
      'fold-back': voidMark(plan, 'fold-back'),
    };
    world.onStep = () => this.#check();
    world.onCommand = (name, args) => this.#beforeCommand(name, args);
    world.onFile = (path) => this.#needEntry('file', path);
  }

  #check(): void {
    const world = this.#world;
    if (world.qemu.alive) this.#guestDoesNotWait();
    if (!world.changed && world.journal === this.#checked) return;
    world.changed = false;
    this.#checked = world.journal;
    this.#oneSideHasAll(world.journal);
    if (world.limbo) this.#oneSideHasAll(world.limbo);
    if (!world.qemu.alive) return;
    this.#guestReadsAll();
    this.#recordBeforeSwap();
  }

  /** Whatever dies now: the side that recovery would choose holds every write that was acknowledged, of every disk. */
  #oneSideHasAll(journal: JournalContents): void {
    const { guest, files, migration } = this.#world;
    const { plan } = this.#scene;
    const snapshot = journal.steps.find(({ step }) => step === 'snapshot');
    const finished = journal.migrations.get(migration)?.state;
    // A mark on the storage takes a record back where the journal could not.
    const committed = (kind: CommitKind): boolean =>
      this.#world.committed(kind, journal) && files.lookup(this.#marks[kind]) === undefined;
    const { truth, overlay } = offlineVerdict({
      snapshotBegun: snapshot !== undefined && snapshot.state !== 'undone' && finished !== 'rolled-back',
      committed: { pivot: committed('pivot'), fold: committed('fold'), foldBack: committed('fold-back') },
      fold: plan.request.fold,
    });
    for (const disk of plan.disks) {
      const [above, image] =
        truth === 'source' ? [disk.sourceOverlay, disk.active.realPath] : [disk.targetOverlay, disk.target];
      // An overlay that is gone was merged before.
      const from = overlay !== 'drop' && files.lookup(above) ? above : image;
      const chain = files.chain(from, this.#hidden);
      for (const [block, least] of guest.least(disk.id).entries()) {
        const found = readChain(chain, block);
        if (found >= least) continue;
        const what = `write ${least} of ${disk.id}:${block}`;
        return this.#world.broken(
          `${what} was acknowledged, and the ${truth} would be chosen, which has ${found} (${from})`,
        );
      }
    }
    return undefined;
  }

  #guestReadsAll(): void {
    const { guest, qemu } = this.#world;
    for (const disk of qemu.disks.keys()) {
      for (const [block, least] of guest.least(disk).entries()) {
        const found = qemu.read(disk, block);
        if (found >= least) continue;
        return this.#world.broken(`the guest reads ${found} at ${disk}:${block}, where it has written ${least}`);
      }
    }
    return undefined;
  }

  /**
   * A disk is on the target only after the commit record. libvirt's disks go over one by one before it, while the VM is suspended:
   * both sides are equal then, and what counts is that the guest does not go on there.
   */
  #recordBeforeSwap(): void {
    const { qemu, libvirtd } = this.#world;
    if (this.#world.committed('pivot') || (libvirtd && qemu.status !== 'running')) return;
    for (const [disk, { inode }] of qemu.disks) {
      if (inode.device === TARGET_DEVICE) this.#world.broken(`${disk} is on the target, and there is no commit record`);
    }
  }

  #guestDoesNotWait(): void {
    const { qemu, libvirtd, manager, time } = this.#world;
    // Once it has gone over, a target that hangs is its own storage, for which it waits with a manager or without. Through
    // libvirt a pivot cannot be given up, and nobody lets the guest go on while libvirtd is away.
    const ownHangs = time < this.#world.hangsUntil && (this.#world.committed('pivot') || libvirtd !== undefined);
    const waits = qemu.guestWaits && manager.alive && !ownHangs && (libvirtd?.up ?? true) && this.libvirtIsClear();
    if (!waits || this.#waiter !== manager) this.#waitsSince = waits ? time : undefined;
    this.#waiter = manager;
    if (this.#waitsSince !== undefined && time - this.#waitsSince > LONGEST_WAIT_MS)
      this.#world.broken(`the guest has waited for ${Math.round(time - this.#waitsSince)} ms while a manager lives`);
  }

  #beforeCommand(name: string, args: object): void {
    const text = (key: string): string => String((args as Readonly<Record<string, unknown>>)[key]);
    if (name === 'blockdev-add') this.#needEntry('node', text('node-name'));
    if (name === 'blockdev-mirror' || name === 'block-commit') this.#needEntry('job', text('job-id'));
    if (name === 'DOMAIN_SNAPSHOT_CREATE_XML') this.#needEntry('node', text('path'));
    if (name === 'DOMAIN_BLOCK_COPY') this.#needJob('copy', text('disk'), text('path'));
    if (name === 'DOMAIN_BLOCK_COMMIT') this.#needJob('commit', text('disk'));
    if (name === 'stop' || name === 'DOMAIN_SUSPEND') this.#needEntry('job', `stopped-${this.#world.migration}`);
    if (name === 'blockdev-add' && this.#isReadByGuest(text('backing')))
      this.#world.broken(
        `${text('node-name')} is opened on an image that the guest reads: QEMU 7.2 fails the reads under way`,
      );
    if (name === 'blockdev-mirror' && (args as CommandArguments<'blockdev-mirror'>)['copy-mode'] !== 'background')
      this.#world.broken('a mirror that is not in background mode: QEMU crashes when it is cancelled');
  }

  /** Whether it may have reads of this node under way. */
  #isReadByGuest(node: string): boolean {
    const { qemu } = this.#world;
    if (qemu.status !== 'running') return false;
    return [...qemu.disks.values()].some((top) => {
      for (let below: typeof top | undefined = top; below; below = below.backing) if (below.name === node) return true;
      return false;
    });
  }

  #needEntry(kind: string, name: string): void {
    const { ledger } = this.#world.journal;
    if (ledger.some((entry) => entry.kind === kind && entry.name === name && entry.state !== 'gone')) return;
    this.#world.broken(`the ${kind} ${name} was made, and the ledger did not know of it`);
  }

  /** libvirt's jobs have no names. @param file that it goes to, or, where it is taken back, that it came from */
  #needJob(kind: string, disk: string, file?: string): void {
    const known = this.#world.journal.ledger.some((entry) => {
      const job = entry.kind === 'job' && entry.state !== 'gone' ? parseJobName(entry.name) : undefined;
      return job?.kind === kind && job.disk === disk && (file === undefined || [job.from, job.to].includes(file));
    });
    if (!known) this.#world.broken(`a ${kind} of ${disk} was begun, and the ledger did not know of it`);
  }

  /** Whether libvirt believes of every disk what is so in QEMU. */
  libvirtIsRight(): boolean {
    const { qemu, files, libvirtd } = this.#world;
    return (libvirtd?.belief ?? []).every(({ target, images, mirror, job }) => {
      let node = qemu.disks.get(target);
      for (const { path } of images) {
        if (node === undefined || node.inode !== files.open(path)) return false;
        node = node.backing;
      }
      return node === undefined && (mirror === undefined || (job !== undefined && mirror.kind !== ''));
    });
  }

  /** Whether it could be known: libvirt is right, and QEMU has no mirror open that libvirt does not know of. */
  libvirtIsClear(): boolean {
    const { qemu, files, libvirtd } = this.#world;
    if (libvirtd === undefined) return true;
    const known = new Set(
      libvirtd.belief.flatMap(({ images, mirror }) => [...images, ...(mirror ? [mirror.image] : [])]),
    );
    const paths = new Set([...known].map(({ path }) => path));
    return (
      this.libvirtIsRight() &&
      this.#scene.plan.disks.every(({ targetOverlay, sourceOverlay }) =>
        [targetOverlay, sourceOverlay].every((path) => {
          const inode = files.lookup(path);
          return paths.has(path) || inode === undefined || !qemu.opens(inode);
        }),
      )
    );
  }

  // At the end.

  /** The migration has come to one of its ends: nothing is left, and everything is where it should be. */
  checkEnd(outcome: 'done' | 'rolled-back'): void {
    const { files, journal, migration } = this.#world;
    const wanted = outcome === 'done' ? this.#filesWhenDone() : this.#filesBefore();
    const found = new Set([...inFolder(files, SOURCE), ...inFolder(files, TARGET)]);
    // Files on a target that did not answer are left to it, and `gc` knows them.
    const left = new Set(
      this.#world.hangsUntil === 0
        ? []
        : journal.ledger
            .filter(
              ({ kind, name, state }) =>
                kind === 'file' && state !== 'gone' && dirname(name) === TARGET && !wanted.has(name),
            )
            .map(({ name }) => name),
    );
    for (const path of found)
      if (!wanted.has(path) && !left.has(path)) this.#world.broken(`litter after ${outcome}: ${path}`);
    for (const path of wanted) if (!found.has(path)) this.#world.broken(`gone after ${outcome}: ${path}`);
    for (const { migration: id, kind, name, state } of journal.ledger) {
      if (id === migration && state !== 'gone' && !left.has(name))
        this.#world.broken(`left in the ledger after ${outcome}: ${kind} ${name}`);
    }
    this.#rightContents(outcome);
    if (this.#world.qemu.alive) this.#rightNodes(outcome);
  }

  #filesBefore(): ReadonlySet<string> {
    return new Set(this.#scene.plan.sourceFiles.map(({ realPath }) => realPath));
  }

  #filesWhenDone(): ReadonlySet<string> {
    const { copies, disks, sourceFiles, request } = this.#scene.plan;
    const kept = sourceFiles.flatMap(({ action, realPath, renameTo, link, path }) => [
      ...(action === 'keep' ? [realPath] : action === 'rename' && renameTo !== undefined ? [renameTo] : []),
      ...(link === undefined ? [] : [path]),
    ]);
    const overlays = request.fold ? [] : disks.map(({ targetOverlay }) => targetOverlay);
    return new Set([...copies.map(({ target }) => target), ...overlays, ...kept]);
  }

  /** What the VM can be started from holds every write, and a source that was kept is no older than the snapshot. */
  #rightContents(outcome: 'done' | 'rolled-back'): void {
    const { files, guest } = this.#world;
    const { disks, request } = this.#scene.plan;
    for (const { id, target, targetOverlay, active } of disks) {
      const path = outcome === 'rolled-back' ? active.path : request.fold ? target : targetOverlay;
      const chain = files.chain(path);
      const away = outcome === 'done' ? chain.find((inode) => inode?.device !== TARGET_DEVICE) : undefined;
      if (away !== undefined) this.#world.broken(`the chain of ${path} leads back to the source`);
      for (const [block, least] of guest.least(id).entries()) {
        if (readChain(chain, block) < least)
          this.#world.broken(`after ${outcome} ${path} lacks write ${least} of ${id}:${block}`);
      }
    }
  }

  #rightNodes(outcome: 'done' | 'rolled-back'): void {
    const { qemu, libvirtd } = this.#world;
    const device = outcome === 'done' ? TARGET_DEVICE : '1';
    if (libvirtd && !this.libvirtIsRight()) this.#world.broken(`after ${outcome} libvirt believes what is not so`);
    for (const job of qemu.jobs.keys()) this.#world.broken(`the job ${job} is left after ${outcome}`);
    if (qemu.status !== 'running') this.#world.broken(`the VM is ${qemu.status} after ${outcome}`);
    const used = new Set<string>();
    for (const [disk, active] of qemu.disks) {
      for (let node = qemu.disks.get(disk); node; node = node.backing) {
        used.add(node.name);
        if (node.file) used.add(node.file.name);
        if (node.inode.device !== device) this.#world.broken(`${disk} stands on ${node.name} after ${outcome}`);
      }
      const wanted = this.#depth(disk) + (outcome === 'done' && !this.#scene.plan.request.fold ? 2 : 1);
      let depth = 0;
      for (let node = qemu.disks.get(disk); node; node = node.backing) depth += 1;
      if (depth !== wanted)
        this.#world.broken(`the chain of ${disk} has ${depth} images after ${outcome} (${active.name})`);
    }
    // Of what libvirt did not come to close, that is closed what it does not know of any more, and not a second node on an image in use.
    const inUse = new Set([...qemu.nodes.values()].filter(({ name }) => used.has(name)).map(({ inode }) => inode));
    for (const { name, inode } of qemu.nodes.values()) {
      if (used.has(name) || (libvirtd && this.#world.faultsMade > 0 && inUse.has(inode))) continue;
      this.#world.broken(`the node ${name} is left after ${outcome}`);
    }
  }

  #depth(disk: string): number {
    return (this.#scene.disks.find(({ id }) => id === disk)?.nodes.length ?? 1) - 1;
  }
}
