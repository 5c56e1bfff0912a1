import { dirname } from 'node:path';
import { type Clock, ferryError } from '../../base/index.ts';
import type { Journal } from '../../journal/index.ts';
import {
  DEFAULT_REQUEST,
  fileNames,
  makePlan,
  Migration,
  type MigrationEvent,
  type MigrationPlan,
  type MigrationRequest,
  type Outcome,
  type PlannedDisk,
  planRefused,
  type SnapshotRequest,
  type Survey,
  takeSurvey,
  withKeptSnapshots,
} from '../../migration/index.ts';
import type { VirtualMachine } from '../../vm/index.ts';
import { refusal } from '../snapshot-error.ts';
import type { Standing } from './kept-list.ts';
import { checkPreparedMirror, copiedChains, type MirrorFiles } from './mirror-files.ts';
import { checkNames } from './overlay-file.ts';
import { chainTop, placeholders } from './placeholders.ts';

/** What a mirrored snapshot is made with. */
export interface MirrorDeps {
  readonly vm: VirtualMachine;
  readonly journal: Journal;
  readonly clock: Clock;
  readonly onEvent?: (event: MigrationEvent) => void;
}

/**
 * Takes a mirrored snapshot: a migration under the names that the user gave, which stops when the disks are mirrored.
 * @throws SnapshotError, or FerryError PLAN_REFUSED; nothing is left of it then
 */
export async function beginMirrored(
  deps: MirrorDeps,
  snapshot: SnapshotRequest,
  files: readonly MirrorFiles[],
): Promise<void> {
  checkNames(files);
  if (snapshot.prepared) for (const each of files) await checkPreparedMirror(each);
  const request: MigrationRequest = {
    // A mirrored snapshot may stand for days, on files of its user's, which the server would make longer.
    mirrorServer: false,
    ...DEFAULT_REQUEST,
    disks: files.map(({ disk, mirror }) => ({ name: disk, to: dirname(mirror) })),
    keepSource: true,
    // The chain is left as the user made it; what the user copied is compared before the pivot.
    fold: false,
    verify: false,
    snapshot,
  };
  const kept = deps.journal.snapshots(deps.vm.identity);
  const survey = withKeptSnapshots(await takeSurvey(deps.vm, request, deps.clock), kept);
  const plan = await planMirrored(survey, files, snapshot.prepared);
  await using migration = await Migration.begin(plan, deps);
  const outcome = await migration.run();
  if (outcome.kind === 'mirrored') return;
  throw refusal('VIR_ERR_OPERATION_FAILED', outcome.message);
}

/**
 * The plan of a migration, with the user's names. The copies are the user's own, and so are the files that are no longer
 * needed at the end.
 */
async function planMirrored(survey: Survey, files: readonly MirrorFiles[], prepared: boolean): Promise<MigrationPlan> {
  const { plan, refusals } = makePlan(withoutCopies(survey));
  if (plan === undefined) throw planRefused(survey.inventory.identity.name, refusals);
  const disks = await Promise.all(
    plan.disks.map(async (disk): Promise<PlannedDisk> => {
      const names = files.find((each) => each.disk === disk.id);
      if (names === undefined) throw ferryError('INTERNAL', { what: `no files for the disk ${disk.id}` });
      const target = await chainTop(names, disk, prepared);
      const own = { target, sourceOverlay: names.source, targetOverlay: names.mirror };
      return { ...disk, ...own, ...(plan.suspendedSwap && fileNames(disk.id, disk.active.path, own)) };
    }),
  );
  const kept = { action: 'keep', reason: 'a mirrored snapshot leaves the files of the source to its user' } as const;
  const sourceFiles = plan.sourceFiles.map(({ path, realPath, dev, ino }) => ({ path, realPath, dev, ino, ...kept }));
  // What they name is the user's to write.
  const copies = plan.copies.map(({ backing: _backing, ...copy }) => copy);
  const empty = plan.suspendedSwap ? { placeholders: await placeholders(survey, disks) } : {};
  return { ...plan, disks, copies, sourceFiles, ...empty, notes: [] };
}

/** Copies take no room and no names: the user may have made them already. */
function withoutCopies(survey: Survey): Survey {
  return {
    ...survey,
    disks: survey.disks.map((each) => ({ ...each, chain: each.chain.map((image) => ({ ...image, allocated: 0 })) })),
    folders: new Map([...survey.folders].map(([path, folder]) => [path, { ...folder, names: new Set<string>() }])),
  };
}

/**
 * Ends a mirrored snapshot: over to the mirrors, once their chains were compared with the source's, or back.
 * @param chains the images below each disk's mirror that will be opened, where that is decided already
 * @throws SnapshotError when it cannot be ended that way; the message says how things stand
 */
export async function endMirrored(
  deps: MirrorDeps,
  { row, plan }: Standing,
  way: 'pivot' | 'abort',
  chains?: ReadonlyMap<string, readonly string[]>,
): Promise<Outcome> {
  const { journal } = deps;
  if (way === 'pivot') {
    journal.update(row.id, { plan: await copiedChains(plan, chains) });
    // What stands there now is the user's copy, and nobody removes it any more.
    const filled = new Set(plan.placeholders?.map(({ path }) => path));
    const entries = journal.ledger(row.id, { kind: 'file', states: ['planned', 'made'] });
    for (const entry of entries) if (filled.has(entry.name)) journal.ledgerGone(entry.id);
  }
  await using migration = await Migration.takeOver(row.id, deps);
  if (way === 'abort') migration.control.abort();
  return await migration.run({ seeThrough: true });
}
