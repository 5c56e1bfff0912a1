import { rm } from 'node:fs/promises';
import { dirname } from 'node:path';
import { ferryError } from '../base/index.ts';
import { foldOffline, openersOf, syncFolder } from '../image/index.ts';
import { type Journal, MigrationOwner } from '../journal/index.ts';
import type { MigrationEvent } from './event.ts';
import type { Outcome } from './migration.ts';
import { type OfflineVerdict, offlineVerdict } from './offline-verdict.ts';
import type { MigrationPlan, PlannedDisk } from './plan.ts';
import { Ledger } from './run.ts';
import { changedImages, type Stamp } from './snapshot-stamp.ts';
import { identityOf, letGoOfSource } from './source-files.ts';

export interface OfflineDeps {
  readonly journal: Journal;
  readonly onEvent?: (event: MigrationEvent) => void;
}

/** What was begun of the merge is written down under this name, among the steps. */
const MERGE = 'merge-offline';

/**
 * Ends a migration whose QEMU is gone: the newest data is brought to where the VM can be started from, the other side is
 * tidied up. May be killed at any moment and called again.
 *
 * The caller has made sure that the QEMU process of the migration no longer exists.
 * @throws FerryError MIGRATION_OWNED; IMAGE_IN_USE when something has an image open; STALE_START when the image below an
 *   overlay was written to since the snapshot (nothing is merged then, and both versions stay); those of `foldOffline`
 */
export async function recoverOffline(id: string, deps: OfflineDeps): Promise<Outcome> {
  const { journal } = deps;
  const owner = await MigrationOwner.claim(journal.dir, id, () =>
    Promise.reject(ferryError('MIGRATION_OWNED', { id })),
  );
  if (owner === undefined) throw ferryError('MIGRATION_OWNED', { id });
  await using _ = owner;
  const plan = journal.migration(id).plan as MigrationPlan;
  const verdict = offlineVerdict(factsOf(journal, plan));
  const emit = (event: MigrationEvent): void => {
    const { type, ...payload } = event;
    journal.emit(id, type, payload);
    deps.onEvent?.(event);
  };
  emit({ type: 'taken-over', pid: process.pid });
  const outcome =
    verdict.truth === 'source'
      ? await backAtSource(journal, plan, verdict)
      : await onTarget(journal, plan, verdict, emit);
  const ledger = new Ledger(journal, id);
  // Nodes and jobs ended with their QEMU; the files that are left are the VM's own.
  for (const kind of ['node', 'job', 'file'] as const) ledger.gone(kind, ...ledger.live(kind));
  journal.update(id, { state: outcome.kind, message: outcome.message });
  emit({ type: 'finished', outcome: outcome.kind, message: outcome.message });
  return outcome;
}

function factsOf(journal: Journal, { id, request }: MigrationPlan): Parameters<typeof offlineVerdict>[0] {
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

async function backAtSource(journal: Journal, plan: MigrationPlan, { overlay }: OfflineVerdict): Promise<Ended> {
  const { id, vm, disks } = plan;
  journal.update(id, { goal: 'back', state: 'rolling-back' });
  if (overlay === 'merge') {
    await refuseStale(journal, plan);
    journal.intendStep(id, MERGE);
    for (const disk of disks) await merge(disk.sourceOverlay);
  }
  // The mirrors and the copies; only files that are in the ledger, and so were made by this migration.
  const ours = new Set([
    ...disks.flatMap((disk) => [disk.sourceOverlay, disk.targetOverlay]),
    ...plan.copies.map(({ target }) => target),
  ]);
  for (const path of new Ledger(journal, id).live('file')) if (ours.has(path)) await remove(path);
  const from = disks.map(({ active }) => active.path).join(', ');
  return {
    kind: 'rolled-back',
    message: `QEMU of ${vm.name} is gone; the disks are where they were, with every acknowledged write: start it from ${from}`,
  };
}

async function onTarget(
  journal: Journal,
  plan: MigrationPlan,
  { overlay }: OfflineVerdict,
  emit: (event: MigrationEvent) => void,
): Promise<Ended> {
  const { id, vm, disks } = plan;
  journal.update(id, { state: 'running' });
  if (overlay === 'merge') for (const disk of disks) await merge(disk.targetOverlay);
  if (overlay === 'merge' && disks.length > 0) journal.writeCommitRecord(id, 'fold', { offline: true });
  if (overlay !== 'keep') for (const disk of disks) await remove(disk.targetOverlay);
  const open = new Set<string>();
  for (const { realPath } of plan.sourceFiles) {
    const found = await identityOf(realPath);
    if (found !== undefined && (await openersOf(realPath)).openers.length > 0) open.add(found);
  }
  await letGoOfSource(plan, open, (message) => emit({ type: 'warning', message }));
  const from = disks.map((disk: PlannedDisk) => (overlay === 'keep' ? disk.targetOverlay : disk.target)).join(', ');
  const linked = plan.request.leaveLink ? ' (or by its old paths, which are links now)' : '';
  return {
    kind: 'done',
    message: `QEMU of ${vm.name} is gone; the disks had been swapped, with every acknowledged write: start it from ${from}${linked}`,
  };
}

/** Merging again what was merged before changes nothing; an overlay that is gone was merged and removed. */
async function merge(overlay: string): Promise<void> {
  if ((await identityOf(overlay)) !== undefined) await foldOffline(overlay);
}

async function remove(path: string): Promise<void> {
  await rm(path, { force: true });
  await syncFolder(dirname(path));
}

/**
 * A VM that was started from the image below the overlay, before anybody recovered, has gone on from old data: merging
 * the overlay into that would mix two histories.
 * @throws FerryError STALE_START
 */
async function refuseStale(journal: Journal, plan: MigrationPlan): Promise<void> {
  const steps = journal.steps(plan.id);
  const snapshot = steps.find(({ step }) => step === 'snapshot');
  // From the moment that we merge ourselves, the image changes by our own hand.
  if (snapshot?.state !== 'done' || steps.some(({ step }) => step === MERGE)) return;
  const [image] = await changedImages(plan, (snapshot.detail as { stamps?: readonly Stamp[] } | null)?.stamps ?? []);
  if (image === undefined) return;
  const disk = plan.disks.find(({ active }) => active.realPath === image);
  throw ferryError('STALE_START', { vm: plan.vm.name, image, overlay: disk?.sourceOverlay ?? '' });
}
