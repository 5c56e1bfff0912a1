import { lstat, realpath } from 'node:fs/promises';
import { ferryError, isFerryError } from '../../base/index.ts';
import { isEmptyOverlay, openersOf, removeFile } from '../../image/index.ts';
import type { Journal, SnapshotIntent, SnapshotOwner } from '../../journal/index.ts';
import { fileMark, sameMark } from '../../migration/index.ts';
import type { VirtualMachine } from '../../vm/index.ts';
import type { DiskSnapshotPlan, PlannedOverlay } from './disk-plan.ts';
import { diskVerdict, type OverlayState, type Seen, whyStays } from './disk-verdict.ts';
import { listOf, recordsOf, storedSnapshot, withTaken } from './kept-list.ts';

/** What became of a snapshot. */
export interface Settlement {
  readonly name: string;
  readonly outcome: 'taken' | 'not-taken';
  /** The guest's newest data is in these, and its VM does not run on them: it has to be started from them. */
  readonly startFrom: readonly string[];
  /** Files that nothing needs and that blockferry does not remove, and why. */
  readonly left: readonly string[];
  /** The guest's file systems were found frozen for it, perhaps, and are thawed. */
  readonly thawed: boolean;
}

export interface SettlementDeps {
  readonly journal: Journal;
  readonly owner: SnapshotOwner;
  /** The VM as it runs now; undefined where it does not. */
  readonly vm?: VirtualMachine | undefined;
}

/**
 * Finds out whether an intended snapshot was taken, by looking at the VM and at the files, never by what was answered. One that
 * was is recorded; of one that was not nothing is left. Only for who owns it; may be called again wherever it was interrupted.
 * @throws FerryError SNAPSHOT_IN_DOUBT, GUEST_NOT_THAWED; what the VM and the journal throw. The intent stands then
 */
export async function settleDiskSnapshot(
  { journal, owner, vm }: SettlementDeps,
  intent: SnapshotIntent,
): Promise<Settlement> {
  const { id, name } = intent;
  const sameProcess = vm?.identity.process === intent.vm.process;
  const { frozen, ...plan } = intent.plan as DiskSnapshotPlan;
  // The guest of another QEMU was never frozen for it.
  const thawed = vm !== undefined && sameProcess && frozen === true;
  if (thawed) {
    await vm.thaw();
    journal.updateSnapshotIntent(id, plan satisfies DiskSnapshotPlan);
  }
  const inChain = vm === undefined ? new Set<string>() : await disksInChain(vm, plan, sameProcess);
  // A file that QEMU has opened, and not put anywhere, would count as one in use.
  if (vm && sameProcess && inChain.size === 0) await vm.closeNodes(plan.disks.map(({ node }) => node));
  const files = new Map<string, OverlayState>();
  if (inChain.size === 0) for (const { disk, path } of plan.disks) files.set(disk, await overlayState(path));
  const seen: Seen = { sameProcess, inChain, files };
  const verdict = diskVerdict(plan, seen);
  const reason = whyInDoubt(plan, files, verdict);
  if (verdict === 'doubt' || reason !== undefined) {
    throw ferryError('SNAPSHOT_IN_DOUBT', {
      snapshot: name,
      vm: owner.name,
      reason: reason ?? 'its files do not tell',
    });
  }
  const left = verdict === 'taken' || plan.prepared ? [] : await removeMade(journal, { ...intent, plan }, files);
  journal.transaction(() => {
    if (verdict === 'taken' && plan.metadata) {
      const snapshot = storedSnapshot(plan.xml);
      journal.changeSnapshots(owner, (records) => recordsOf(withTaken(listOf(records), snapshot)));
    }
    journal.endSnapshotIntent(id);
  });
  const startFrom = verdict === 'taken' && inChain.size === 0 ? plan.disks.map(({ path }) => path) : [];
  return { name, outcome: verdict, startFrom, left, thawed };
}

/** Also one that was not taken waits for who has a file of it open: that is nobody's but a program's that makes it. */
function whyInDoubt(
  { disks, prepared }: DiskSnapshotPlan,
  files: Seen['files'],
  verdict: ReturnType<typeof diskVerdict>,
): string | undefined {
  const busy = disks.find(({ disk }) => files.get(disk) === 'open');
  if (busy && (verdict === 'doubt' || !prepared)) return `the file ${busy.path} is open in another process`;
  if (verdict !== 'doubt') return undefined;
  for (const { disk, path } of disks) {
    if (files.get(disk) === 'unreadable') return `the file ${path} cannot be read`;
    if (files.get(disk) === 'missing') return `the file ${path} is not there (is its storage mounted?)`;
  }
  return undefined;
}

async function disksInChain(
  vm: VirtualMachine,
  { disks }: DiskSnapshotPlan,
  sameProcess: boolean,
): Promise<ReadonlySet<string>> {
  const found = new Set<string>();
  if (sameProcess) {
    for (const { disk, node } of disks) if (await vm.hasBacking(node)) found.add(disk);
    return found;
  }
  // It was started again, from whichever file.
  const images = (await vm.inventory()).disks.flatMap((disk) => disk.images.flatMap(({ path }) => path ?? []));
  const open = new Set(await Promise.all(images.map(realOf)));
  for (const { disk, path } of disks) if (open.has(await realOf(path))) found.add(disk);
  return found;
}

async function realOf(path: string): Promise<string> {
  return await realpath(path).catch(() => path);
}

async function overlayState(path: string): Promise<OverlayState> {
  if ((await fileMark(path)) === undefined) return 'missing';
  const { openers } = await openersOf(path);
  if (openers.length > 0) return 'open';
  if ((await lstat(path)).size === 0) return 'empty';
  try {
    return (await isEmptyOverlay(path)) ? 'empty' : 'data';
  } catch (error) {
    if (isFerryError(error, 'IMAGE_IN_USE')) return 'open';
    if (isFerryError(error, 'IMAGE_UNREADABLE', 'IMAGE_BROKEN', 'TOOL_FAILED')) return 'unreadable';
    throw error;
  }
}

/** Removes what was made, once it is recorded why it will be missing. @returns what stays, and why */
async function removeMade(
  journal: Journal,
  { id, plan, createdAt }: SnapshotIntent,
  files: Seen['files'],
): Promise<readonly string[]> {
  const intended = plan as DiskSnapshotPlan;
  journal.updateSnapshotIntent(id, { ...intended, notTaken: true } satisfies DiskSnapshotPlan);
  const left: string[] = [];
  for (const each of intended.disks) {
    const state = files.get(each.disk) ?? 'missing';
    const why = state === 'missing' ? undefined : whyStays(await leftFile(each, state), createdAt);
    if (why !== undefined) left.push(`${each.path} (${why})`);
    else if (state !== 'missing') await removeFile(each.path);
  }
  return left;
}

async function leftFile({ path, made }: PlannedOverlay, state: OverlayState): Promise<Parameters<typeof whyStays>[0]> {
  const { size, birthtimeMs } = await lstat(path);
  const mark = await fileMark(path);
  return { state, isOurs: made && mark && sameMark(made, mark), size, born: birthtimeMs };
}
