import { ferryError, isFerryError, messageOf } from '../../base/index.ts';
import { formatSnapshot, type Snapshot } from '../../domainsnapshot/index.ts';
import { createOverlay, syncFile } from '../../image/index.ts';
import { type Journal, MigrationOwner, type SnapshotIntent } from '../../journal/index.ts';
import {
  DEFAULT_REQUEST,
  fileMark,
  migrationId,
  planRefused,
  sourceRefusals,
  surveySource,
  THAWED,
} from '../../migration/index.ts';
import type { VirtualMachine } from '../../vm/index.ts';
import type { CreateFlag } from '../snapshot-driver.ts';
import { refusal } from '../snapshot-error.ts';
import { type DiskSnapshotPlan, planOverlays, type PlannedOverlay } from './disk-plan.ts';
import { alignDiskOnly, checkDiskOnly, overlayFiles } from './disk-request.ts';
import { type Settlement, settleDiskSnapshot } from './disk-settlement.ts';
import { describeDomain } from './domain-description.ts';
import type { KeeperDeps } from './mirror-keeper.ts';
import { checkAgent } from './guest-agent.ts';
import { checkNames, checkPrepared, type OverlayFile } from './overlay-file.ts';

/** What is tried. */
interface Attempt {
  readonly id: string;
  readonly plan: DiskSnapshotPlan;
  /** The guest's file systems are frozen meanwhile. */
  readonly quiesce: boolean;
}

/** Snapshots without mirrors of a VM that is driven over QMP: a new active image for each disk, all at one instant. */
export class DiskKeeper {
  readonly #deps: KeeperDeps;

  constructor(deps: KeeperDeps) {
    this.#deps = deps;
  }

  /**
   * Takes one. The intent is in the journal before a file is made; what came of it is looked for in the VM.
   * @throws SnapshotError, DomainSnapshotError; FerryError SNAPSHOT_REFUSED, SNAPSHOT_UNFINISHED, MIGRATION_EXISTS: nothing is
   *   left of it then. SNAPSHOT_IN_DOUBT: `settle` finds out
   */
  async create(journal: Journal, snapshot: Snapshot, flags: readonly CreateFlag[]): Promise<void> {
    checkDiskOnly(snapshot, flags);
    const { owner } = this.#deps;
    await using vm = await this.#deps.vm.connect();
    if (vm === undefined) throw refusal('VIR_ERR_OPERATION_INVALID', 'domain is not running');
    const description = describeDomain(await vm.inventory());
    const aligned = alignDiskOnly(snapshot, description);
    const files = overlayFiles(aligned, description);
    const prepared = flags.includes('REUSE_EXT');
    await checkFiles(files, prepared);
    const quiesce = flags.includes('QUIESCE');
    if (quiesce) await checkAgent(vm);
    const id = migrationId();
    const disks = planOverlays(id, await survey(vm, files), files);
    const plan: DiskSnapshotPlan = {
      version: 1,
      xml: formatSnapshot(aligned, { flags: ['SECURE'] }),
      metadata: !flags.includes('NO_METADATA'),
      prepared,
      disks,
    };
    const name = snapshot.name ?? '';
    await using claimed = await claim(journal, { id, name, vm: owner });
    if (claimed === undefined) throw ferryError('SNAPSHOT_UNFINISHED', { vm: owner.name, snapshot: name });
    const { process, address, host } = vm.identity;
    journal.addSnapshotIntent({ id, name, vm: { ...owner, process, address, host }, plan });
    const failure = await this.#attempt(vm, journal, { id, plan, quiesce });
    const settled = await this.#settled(journal, vm, id);
    if (settled.outcome === 'taken') return this.#tellTaken(plan);
    const left = settled.left.length === 0 ? 'nothing is left of it' : `this stays: ${settled.left.join(', ')}`;
    const text = `${messageOf(failure)}; the snapshot was not taken, the guest goes on as before, and ${left}`;
    throw refusal('VIR_ERR_OPERATION_FAILED', text);
  }

  /**
   * Finds out what became of the VM's snapshots whose taker died, and brings each to its end.
   * @returns those that are brought to an end, and none that a process is taking now
   * @throws FerryError SNAPSHOT_IN_DOUBT, and what the journal throws
   */
  async settle(): Promise<readonly Settlement[]> {
    const { owner, openJournal } = this.#deps;
    if (this.#intents(openJournal('look')).length === 0) return [];
    using journal = openJournal('change');
    const settled: Settlement[] = [];
    for (const { id, name } of journal.snapshotIntents(owner)) {
      await using claimed = await claim(journal, { id, name, vm: owner });
      if (claimed === undefined) continue;
      // Whoever had it may have brought it to its end meanwhile.
      const intent = journal.snapshotIntents(owner).find((each) => each.id === id);
      if (intent !== undefined) settled.push(await this.#settleDead(journal, intent));
    }
    for (const each of settled) this.#tellSettled(each);
    return settled;
  }

  #intents(opened: Journal): readonly SnapshotIntent[] {
    using journal = opened;
    return journal.snapshotIntents(this.#deps.owner);
  }

  async #settleDead(journal: Journal, intent: SnapshotIntent): Promise<Settlement> {
    const { owner, vm: kept } = this.#deps;
    const { name: snapshot } = intent;
    const doubt = (reason: string, cause?: unknown): Error =>
      ferryError('SNAPSHOT_IN_DOUBT', { snapshot, vm: owner.name, reason }, { cause });
    const connected = await kept.connect().catch((error: unknown) => {
      throw doubt(messageOf(error), error);
    });
    await using vm = connected;
    if (vm?.identity.process !== intent.vm.process && (await kept.processExists(intent.vm.process))) {
      throw doubt(`its QEMU still runs, and cannot be asked at ${intent.vm.address}`);
    }
    return await settleDiskSnapshot({ journal, owner, vm }, intent);
  }

  /** What has just been attempted. */
  async #settled(journal: Journal, vm: VirtualMachine, id: string): Promise<Settlement> {
    const { owner } = this.#deps;
    const intent = journal.snapshotIntents(owner).find((each) => each.id === id);
    if (intent === undefined) throw ferryError('INTERNAL', { what: `the intent of snapshot ${id} is gone` });
    try {
      return await settleDiskSnapshot({ journal, owner, vm: (await vm.hasEnded()) ? undefined : vm }, intent);
    } catch (error) {
      if (isFerryError(error, 'SNAPSHOT_IN_DOUBT', 'GUEST_NOT_THAWED')) throw error;
      const fields = { snapshot: intent.name, vm: owner.name, reason: messageOf(error) };
      throw ferryError('SNAPSHOT_IN_DOUBT', fields, { cause: error });
    }
  }

  /** Makes the files and has QEMU take them. @returns what went wrong, if something did: the VM is looked at in any case */
  async #attempt(vm: VirtualMachine, journal: Journal, { id, plan, quiesce }: Attempt): Promise<unknown> {
    try {
      const made = plan.prepared ? plan : await makeOverlays(journal, id, plan);
      // QEMU flushes the images when it makes them read-only, while the guest waits.
      await Promise.all(plan.disks.map(({ active }) => syncFile(active)));
      await (quiesce ? this.#takeFrozen(vm, journal, id, made) : vm.snapshot(plan.disks));
      return undefined;
    } catch (error) {
      const disks = plan.disks.filter((each) => isAbout(error, each));
      const named = (disks.length > 0 ? disks : plan.disks).map(({ disk }) => `'${disk}'`).join(', ');
      return new Error(`disk ${named}: ${messageOf(error)}`, { cause: error });
    }
  }

  /** The journal has that the guest may be frozen before it is, and until it is thawed: whoever finds that thaws it. */
  async #takeFrozen(vm: VirtualMachine, journal: Journal, id: string, plan: DiskSnapshotPlan): Promise<void> {
    const { clock, onEvent } = this.#deps;
    let since: number | undefined;
    const beforeFreeze = (): void => {
      journal.updateSnapshotIntent(id, { ...plan, frozen: true } satisfies DiskSnapshotPlan);
      since = clock.monotonic();
    };
    try {
      await vm.snapshot(plan.disks, beforeFreeze);
    } finally {
      if (since !== undefined) {
        await vm.thaw();
        const ms = clock.monotonic() - since;
        journal.updateSnapshotIntent(id, plan);
        onEvent?.({ type: 'frozen', ms });
      }
    }
  }

  #warn(message: string): void {
    this.#deps.onEvent?.({ type: 'warning', message });
  }

  /** Nobody but who starts the VM knows by which command. */
  #tellTaken({ disks }: DiskSnapshotPlan): void {
    const names = disks.map(({ disk, path }) => `${disk} at ${path}`).join(', ');
    this.#warn(`the guest goes on with ${names}: from its next start on the VM has to be started from there`);
  }

  #tellSettled({ name, outcome, startFrom, left, thawed }: Settlement): void {
    const taken = outcome === 'taken';
    if (thawed) this.#warn(THAWED);
    const start = startFrom.length === 0 ? '' : `; the VM has to be started from ${startFrom.join(', ')}`;
    this.#warn(`whoever took the snapshot '${name}' died: it was ${taken ? 'taken' : 'not taken'}${start}`);
    if (left.length > 0) this.#warn(`nothing needs these files of it, but they stay: ${left.join(', ')}`);
  }
}

/** The right to take a snapshot, or to find out what became of it; undefined while a process that lives has it. */
async function claim(
  journal: Journal,
  { id, name, vm }: Pick<SnapshotIntent, 'id' | 'name'> & { readonly vm: { readonly name: string } },
): Promise<MigrationOwner | undefined> {
  return await MigrationOwner.claim(journal.dir, id, () =>
    Promise.reject(ferryError('SNAPSHOT_UNFINISHED', { vm: vm.name, snapshot: name })),
  );
}

/** Before anything is touched. @throws SnapshotError VIR_ERR_CONFIG_UNSUPPORTED; FerryError for files that cannot be read */
async function checkFiles(files: readonly OverlayFile[], prepared: boolean): Promise<void> {
  checkNames(files);
  for (const file of files) {
    if (prepared) await checkPrepared(file);
    else if ((await fileMark(file.source)) !== undefined) {
      const text = `external snapshot file for disk ${file.disk} already exists and is not a block device: ${file.source}`;
      throw refusal('VIR_ERR_CONFIG_UNSUPPORTED', text);
    }
  }
}

/** The VM and its disks, as a plan would look at them. @throws FerryError SNAPSHOT_REFUSED */
async function survey(vm: VirtualMachine, files: readonly OverlayFile[]): ReturnType<typeof surveySource> {
  const disks = files.map(({ disk }) => ({ name: disk }));
  // What is above a persistent bitmap from now on would not be in it.
  const found = await surveySource(vm, { ...DEFAULT_REQUEST, fold: false, disks });
  const reasons = sourceRefusals(found);
  if (reasons.length > 0) throw planRefused(vm.identity.name, reasons, 'SNAPSHOT_REFUSED');
  return found;
}

/** @returns the plan with which file each is; the same is in the journal */
async function makeOverlays(journal: Journal, id: string, plan: DiskSnapshotPlan): Promise<DiskSnapshotPlan> {
  const disks = [...plan.disks];
  for (const [index, each] of plan.disks.entries()) {
    const { path, size, owner, backing } = each;
    await createOverlay({ path, virtualSize: size, owner, backing });
    const made = await fileMark(path);
    disks[index] = { ...each, ...(made && { made }) };
    journal.updateSnapshotIntent(id, { ...plan, disks });
  }
  return { ...plan, disks };
}

/** QEMU and the file system name the file or the node. */
function isAbout(error: unknown, { path, active, node, base }: PlannedOverlay): boolean {
  const text = messageOf(error);
  return [`'${path}'`, `'${active}'`, `'${node}'`, `'${base}'`].some((name) => text.includes(name));
}
