import { ferryError, messageOf } from '../../base/index.ts';
import type { MigrationState } from '../../journal/index.ts';
import type { MigrationEvent } from '../event.ts';
import { type Host, identityOf } from '../host.ts';
import type { Outcome } from '../migration.ts';
import type { StartImage } from '../../vm/index.ts';
import { endMirrorServer } from '../mirror-server.ts';
import type { MigrationJournal } from '../migration-journal.ts';
import { realHost } from '../real-host.ts';
import { COMMIT_KINDS, heedMarks, removeMark } from '../swap/commit-record.ts';
import { HiddenImages } from './hidden-images.ts';
import { isMounted } from './mounted.ts';
import { type OfflineVerdict, offlineVerdict } from './offline-verdict.ts';
import type { MigrationPlan, PlannedDisk } from '../plan/plan.ts';
import { anothersText, Ledger } from '../run.ts';
import { changedImages, stampsOf } from './snapshot-stamp.ts';
import { handOver, letGoOfSource, linkTemporaries } from '../source-files.ts';

export interface OfflineDeps {
  readonly journal: MigrationJournal;
  /** Default: this host. */
  readonly host?: Host;
  readonly onEvent?: (event: MigrationEvent) => void;
  /** Whoever manages the VM. */
  readonly manager?: VmManager;
}

/** Who keeps the definition of a VM that has ended. */
export interface VmManager {
  /**
   * Resolves when it has noted that the VM has ended, and given back what the VM had of its images. An image that is not where it
   * was then makes libvirt keep all else that the VM had, and the VM is not started again.
   * @param process the QEMU that has ended, as in the journal
   */
  untilEnded(process: string): Promise<void>;
  /** Brings the definition up to date: which image to start from, for each file that it may name. May be called again. */
  redefine(images: ReadonlyMap<string, StartImage>): Promise<void>;
}

/** The merge is written down under this name, among the steps. */
const MERGE = 'merge-offline';
/** And this is, from where on sources that are kept get what their overlays hold. */
const PUT_ASIDE = 'put-aside-offline';

/**
 * Ends a migration whose QEMU is gone: the newest data is brought to where the VM can be started from, the other side is
 * tidied up. May be killed at any moment and called again.
 *
 * The caller has made sure that the QEMU process of the migration no longer exists.
 * @throws FerryError MIGRATION_FINISHED, MIGRATION_OWNED; STORAGE_MISSING when the images that hold the newest data are not
 *   there (nothing is touched then); IMAGE_IN_USE when something has an image open; STALE_START when the image below an
 *   overlay was written to since the snapshot (nothing is merged then, and both versions stay); those of `foldOffline`.
 *   What it says is in the journal as well
 */
export async function recoverOffline(id: string, deps: OfflineDeps): Promise<Outcome> {
  const { journal, host = realHost } = deps;
  const owner = await host.claim(journal.dir, id, () => Promise.reject(ferryError('MIGRATION_OWNED', { id })));
  if (owner === undefined) throw ferryError('MIGRATION_OWNED', { id });
  await using _ = owner;
  const { plan, state } = journal.migration(id) as { plan: MigrationPlan; state: MigrationState };
  if (state === 'done' || state === 'rolled-back') throw ferryError('MIGRATION_FINISHED', { id, state });
  const emit = (event: MigrationEvent): void => {
    const { type, ...payload } = event;
    journal.emit(id, type, payload);
    deps.onEvent?.(event);
  };
  emit({ type: 'taken-over', pid: process.pid });
  try {
    await deps.manager?.untilEnded(plan.vm.process);
    await heedMarks({ journal, plan, host });
    const ledger = new Ledger(journal, host, id);
    for (const kind of COMMIT_KINDS) await removeMark({ plan, ledger, host }, kind);
    // It has the target's overlays open.
    await endMirrorServer({ host, ledger });
    const verdict = offlineVerdict(factsOf(journal, plan));
    const outcome =
      verdict.truth === 'source'
        ? await backAtSource({ journal, host, plan, emit }, verdict)
        : await onTarget({ journal, host, plan, emit }, verdict);
    await deps.manager?.redefine(startImages(plan, verdict));
    const { kind, message } = outcome;
    // Both or none: what is finished is not given to a person for an event that could not be written.
    journal.transaction(() => {
      journal.update(id, { state: kind, message });
      emit({ type: 'finished', outcome: kind, message });
    });
    return outcome;
  } catch (error) {
    journal.update(id, { state: 'attention', message: messageOf(error) });
    throw error;
  }
}

function factsOf(journal: MigrationJournal, { id, request }: MigrationPlan): Parameters<typeof offlineVerdict>[0] {
  const snapshot = journal.steps(id).find(({ step }) => step === 'snapshot');
  return {
    snapshotBegun: snapshot !== undefined && snapshot.state !== 'undone',
    committed: {
      pivot: journal.commitRecord(id, 'pivot') !== undefined,
      fold: journal.commitRecord(id, 'fold') !== undefined,
      foldBack: journal.commitRecord(id, 'fold-back') !== undefined,
    },
    fold: request.fold,
  };
}

type Ended = Extract<Outcome, { readonly kind: 'done' | 'rolled-back' }>;

/** What recovering one migration works with. */
interface Scene {
  readonly journal: MigrationJournal;
  readonly host: Host;
  readonly plan: MigrationPlan;
  readonly emit: (event: MigrationEvent) => void;
}

async function backAtSource(scene: Scene, { overlay }: OfflineVerdict): Promise<Ended> {
  const { journal, host, plan } = scene;
  const { id, vm, disks } = plan;
  const images = new HiddenImages(scene);
  // An overlay lies beside its image: where that is there, an overlay that is not was removed.
  for (const disk of disks) {
    const path = disk.active.realPath;
    if (!(await images.exists(path))) throw ferryError('STORAGE_MISSING', { disk: disk.id, path });
  }
  journal.update(id, { goal: 'back', state: 'rolling-back' });
  if (overlay === 'merge') await mergeBack(scene, images);
  await images.show();
  const ledger = new Ledger(journal, host, id);
  for (const path of ledger.live('file')) await removeOurs(scene, path, ledger);
  ledgerOfTheDead(ledger);
  const from = disks.map(({ active }) => active.path).join(', ');
  return {
    kind: 'rolled-back',
    message: `QEMU of ${vm.name} is gone; the disks are where they were, with every acknowledged write: start it from ${from}`,
  };
}

/**
 * Merges the overlays into the images below, which have no name that a start command knows until the record is written: a
 * VM that was started meanwhile would go on from half of its data.
 */
async function mergeBack(scene: Scene, images: HiddenImages): Promise<void> {
  const { journal, host, plan } = scene;
  const { id, disks } = plan;
  await images.hide();
  // From the moment that we merge ourselves, the images change by our own hand.
  if (!journal.steps(id).some(({ step }) => step === MERGE)) {
    try {
      await refuseOpen(scene, images);
      await refuseStale(scene, images);
    } catch (error) {
      await images.show();
      throw error;
    }
    journal.intendStep(id, MERGE);
  }
  const within = plan.copies.map(({ source }) => images.hiddenNameOf(source));
  for (const { sourceOverlay, active } of disks) {
    if ((await identityOf(host, sourceOverlay)) === undefined) continue;
    const backing = { name: images.headerNameOf(active.realPath), format: active.format };
    await host.rewriteBacking(sourceOverlay, backing);
    await host.foldOffline(sourceOverlay, { within });
  }
  // From here on the VM may be started, and the overlays are stale: whoever recovers again must not merge them.
  journal.writeCommitRecord(id, 'fold-back', { offline: true });
}

async function onTarget(scene: Scene, { overlay }: OfflineVerdict): Promise<Ended> {
  const { journal, host, plan, emit } = scene;
  const { id, vm, disks } = plan;
  // As on the source: the overlays lie beside the copies of the active images.
  await requireImages(
    host,
    disks.map((disk) => [disk.id, disk.target]),
  );
  journal.update(id, { state: 'running' });
  const within = plan.copies.map(({ target }) => target);
  if (overlay === 'merge') for (const disk of disks) await merge(host, disk.targetOverlay, within);
  if (overlay === 'merge' && disks.length > 0) journal.writeCommitRecord(id, 'fold', { offline: true });
  if (overlay !== 'keep') for (const disk of disks) await host.removeFile(disk.targetOverlay);
  const spared = await sourcesInUse(scene);
  journal.intendStep(id, PUT_ASIDE);
  const ledger = new Ledger(journal, host, id);
  for (const path of linkTemporaries(plan)) ledger.plan('file', path, 'link');
  await letGoOfSource(host, plan, spared, (message) => emit({ type: 'warning', message }));
  await handOver(host, plan, ledger);
  ledgerOfTheDead(ledger);
  const from = disks.map((disk: PlannedDisk) => (overlay === 'keep' ? disk.targetOverlay : disk.target)).join(', ');
  const linked = plan.request.leaveLink ? ' (or by its old paths, which are links now)' : '';
  return {
    kind: 'done',
    message: `QEMU of ${vm.name} is gone; the disks had been swapped, with every acknowledged write: start it from ${from}${linked}`,
  };
}

/** The image to start each disk from, for every name that it had while the migration lasted. */
function startImages({ disks }: MigrationPlan, { truth, overlay }: OfflineVerdict): ReadonlyMap<string, StartImage> {
  return new Map(
    disks.flatMap(({ active, target, sourceOverlay, targetOverlay }) => {
      const { format } = active;
      const there: StartImage =
        overlay === 'keep' ? { path: targetOverlay, format: 'qcow2' } : { path: target, format };
      const start = truth === 'source' ? { path: active.path, format } : there;
      return [active.path, target, sourceOverlay, targetOverlay].map((name) => [name, start] as const);
    }),
  );
}

/** Source files that somebody has gone on with, as `DEV:INO`, and how that is known. */
async function sourcesInUse({ journal, host, plan }: Scene): Promise<ReadonlyMap<string, string>> {
  const spared = new Map<string, string>();
  const changed = await changedImages(host, stampsOf(journal, plan.id));
  // A source that is kept is changed by our own hand, in the step `clean` or by a recovery before this one.
  const byUs = journal.steps(plan.id).some(({ step }) => step === 'clean' || step === PUT_ASIDE);
  for (const { realPath, action } of plan.sourceFiles) {
    const found = await identityOf(host, realPath);
    // A link is one that an interrupted attempt has put there already: what it leads to is not the source.
    if (found === undefined || (await host.readLink(realPath)) !== undefined) continue;
    if (changed.includes(realPath) && !(byUs && action === 'rename'))
      spared.set(found, 'it was written to since the snapshot, so a VM has gone on from it');
    const [opener] = (await host.openersOf(realPath)).openers;
    if (opener) spared.set(found, `the process ${opener.pid} (${opener.program}) has it open`);
  }
  return spared;
}

/**
 * After a reboot a storage may not be mounted yet. What is not there was then not merged and removed: it is elsewhere.
 * @throws FerryError STORAGE_MISSING
 */
async function requireImages(host: Host, images: readonly (readonly [disk: string, path: string])[]): Promise<void> {
  for (const [disk, path] of images) {
    if ((await host.fileMark(path)) === undefined) throw ferryError('STORAGE_MISSING', { disk, path });
  }
}

/** Nodes and jobs ended with their QEMU. */
function ledgerOfTheDead(ledger: Ledger): void {
  for (const kind of ['node', 'job'] as const) ledger.gone(kind, ...ledger.live(kind));
}

/** Only what is in the ledger comes here. What cannot be removed now stays in it, for `blockferry gc`. */
async function removeOurs({ host, plan, emit }: Scene, path: string, ledger: Ledger): Promise<void> {
  const there = (await host.fileMark(path)) !== undefined;
  if (!there && !(await isMounted(host, path, plan))) {
    const message = `whether ${path} is there cannot be seen: its storage is not mounted. When it is: blockferry gc`;
    return emit({ type: 'warning', message });
  }
  if (there && (await ledger.isAnothers(path))) emit({ type: 'warning', message: anothersText(path) });
  else if (there) await host.removeFile(path);
  return ledger.gone('file', path);
}

/**
 * Merging again what was merged before changes nothing; an overlay that is gone was merged and removed.
 * @param within the images that it may stand on
 */
async function merge(host: Host, overlay: string, within: readonly string[]): Promise<void> {
  if ((await identityOf(host, overlay)) !== undefined) await host.foldOffline(overlay, { within });
}

/**
 * A VM that was started, and has not written yet, has an image open all the same.
 * @throws FerryError IMAGE_IN_USE
 */
async function refuseOpen({ host, plan }: Scene, images: HiddenImages): Promise<void> {
  for (const { active } of plan.disks) {
    const { openers } = await host.openersOf(images.hiddenNameOf(active.realPath));
    if (openers.some(({ pid }) => pid !== process.pid)) throw ferryError('IMAGE_IN_USE', { path: active.realPath });
  }
}

/**
 * A VM that was started from the image below the overlay, before anybody recovered, has gone on from old data: merging
 * the overlay into that would mix two histories.
 * @throws FerryError STALE_START
 */
async function refuseStale({ journal, host, plan }: Scene, images: HiddenImages): Promise<void> {
  const stamps = stampsOf(journal, plan.id);
  const now = stamps.map((stamp) => ({ ...stamp, path: images.hiddenNameOf(stamp.path) }));
  const changed = new Set(await changedImages(host, now));
  const unstamped = journal.steps(plan.id).some(({ step, state }) => step === 'snapshot' && state === 'intended');
  const isStale = unstamped ? await unstampedIsStale(host, plan, images) : undefined;
  for (const { active, sourceOverlay } of plan.disks) {
    const stale = isStale ?? changed.has(images.hiddenNameOf(active.realPath));
    // Somebody who chose to go on with the image has removed the overlay.
    if (!stale || (await identityOf(host, sourceOverlay)) === undefined) continue;
    throw ferryError('STALE_START', { vm: plan.vm.name, id: plan.id, image: active.realPath, overlay: sourceOverlay });
  }
}

/**
 * Where QEMU died before the images could be stamped: all of them were frozen at one instant, and what is in an overlay was
 * written after it. So an image that was written to later than an overlay with data was written to by another run.
 */
async function unstampedIsStale(host: Host, { disks }: MigrationPlan, images: HiddenImages): Promise<boolean> {
  const written: bigint[] = [];
  for (const { sourceOverlay, targetOverlay } of disks) {
    if ((await identityOf(host, sourceOverlay)) === undefined) continue;
    const overlay = await host.stampOf(sourceOverlay);
    // Its twin was made like it, and nothing was mirrored yet: the first write makes an overlay longer.
    const hasTwin = (await identityOf(host, targetOverlay)) !== undefined;
    const empty = hasTwin && (await host.stampOf(targetOverlay)).size === overlay.size;
    if (!empty) written.push(BigInt(overlay.mtime));
  }
  for (const { active } of disks) {
    const { mtime } = await host.stampOf(images.hiddenNameOf(active.realPath));
    if (written.some((time) => BigInt(mtime) > time)) return true;
  }
  return false;
}
