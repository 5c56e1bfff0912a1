import { lstat, readlink, realpath } from 'node:fs/promises';
import { basename } from 'node:path';
import { otherUsersOf, removeFile, storageAnswers } from '../../image/index.ts';
import type { Journal, LedgerEntry } from '../../journal/index.ts';
import { type FileMark, fileMark, isPlaceholder, sameMark } from '../file-mark.ts';
import { isMounted } from './mounted.ts';
import type { MigrationPlan } from '../plan/plan.ts';

/** A file that a finished migration made, or was about to make, and that its ledger does not know to be gone. */
export interface Leftover {
  readonly migration: string;
  readonly vm: string;
  readonly path: string;
  /** `source-overlay`, `target-overlay`, `copy`, `link`. */
  readonly role: string;
  /** Bytes that it takes up. */
  readonly size: number;
  /** `remove`: nothing speaks against it; `keep`: something does; `missing`: there is no such file (any more). */
  readonly verdict: 'remove' | 'keep' | 'missing';
  /** The reason of the verdict, in words. */
  readonly why: string;
}

/** A storage that takes longer to answer is asked another time. */
const ANSWER_MS = 2000;

type Verdict = Pick<Leftover, 'verdict' | 'why'>;

/** Looks at every file that the ledgers of finished migrations have left. Touches nothing. */
export async function findLeftovers(journal: Journal): Promise<readonly Leftover[]> {
  const entries = leftEntries(journal);
  // One of them may stand on another: both can go.
  const others = entries.map(({ entry }) => entry.name);
  return await Promise.all(entries.map(async ({ entry, plan }) => await examine(journal, entry, plan, others)));
}

/**
 * Removes a leftover, after another look at it: alone, so an image that something stands on goes after that.
 * @returns what it was found to be: removed only with the verdict `remove`
 */
export async function removeLeftover(journal: Journal, leftover: Leftover): Promise<Leftover> {
  const left = leftEntries(journal).find(
    ({ entry }) => entry.migration === leftover.migration && entry.name === leftover.path,
  );
  if (left === undefined) return { ...leftover, verdict: 'missing', why: 'somebody else has removed it' };
  const { entry, plan } = left;
  const found = await examine(journal, entry, plan, []);
  if (found.verdict === 'remove') {
    await removeFile(entry.name);
  }
  const gone =
    found.verdict === 'remove' || (found.verdict === 'missing' && (await isMounted({ fileMark }, entry.name, plan)));
  if (gone) journal.ledgerGone(entry.id);
  return found;
}

/** Overlays come before what they stand on. */
function rank(role: string): number {
  return Number(role === 'copy');
}

function leftEntries(journal: Journal): readonly { readonly entry: LedgerEntry; readonly plan: MigrationPlan }[] {
  return journal
    .migrations({ unfinished: false })
    .flatMap(({ id, plan }) =>
      journal
        .ledger(id, { kind: 'file', states: ['planned', 'made'] })
        .map((entry) => ({ entry, plan: plan as MigrationPlan })),
    )
    .toSorted((a, b) => rank(a.entry.role) - rank(b.entry.role));
}

async function examine(
  journal: Journal,
  entry: LedgerEntry,
  plan: MigrationPlan,
  others: readonly string[],
): Promise<Leftover> {
  const about = { migration: entry.migration, vm: plan.vm.name, path: entry.name, role: entry.role };
  if (!(await storageAnswers(entry.name, ANSWER_MS))) {
    return { ...about, size: 0, verdict: 'keep', why: 'its storage does not answer' };
  }
  const mark = await fileMark(entry.name);
  if (mark === undefined) {
    const mounted = await isMounted({ fileMark }, entry.name, plan);
    const why = mounted ? 'there is no such file' : 'there is no such file; is its storage mounted?';
    return { ...about, size: 0, verdict: 'missing', why };
  }
  const { blocks } = await lstat(entry.name);
  return { ...about, size: blocks * 512, ...(await judge(journal, entry, mark, plan, others)) };
}

async function judge(
  journal: Journal,
  entry: LedgerEntry,
  mark: FileMark,
  plan: MigrationPlan,
  others: readonly string[],
): Promise<Verdict> {
  const why =
    usedByMigration(journal, entry.name) ??
    notTheOne(entry, mark) ??
    (entry.role === 'void-mark'
      ? undefined
      : entry.role === 'link'
        ? await notTheLink(entry.name, plan)
        : await inUse(entry.name, others));
  return why === undefined
    ? { verdict: 'remove', why: `left over from a migration that is ${journal.migration(entry.migration).state}` }
    : { verdict: 'keep', why };
}

/** A path that a migration under way has to do with, or that one has made an image of its VM. */
function usedByMigration(journal: Journal, path: string): string | undefined {
  for (const { id, state, plan } of journal.migrations()) {
    if (state === 'rolled-back') continue;
    const { disks, copies, sourceFiles, request } = plan as MigrationPlan;
    const targets = copies.map(({ target }) => target);
    if (state === 'done') {
      const images = [...targets, ...(request.fold ? [] : disks.map(({ targetOverlay }) => targetOverlay))];
      if (images.includes(path)) return `it is an image of the VM since migration ${id}`;
      continue;
    }
    const touched = [
      ...targets,
      ...disks.flatMap(({ sourceOverlay, targetOverlay }) => [sourceOverlay, targetOverlay]),
      ...sourceFiles.flatMap((file) => [file.path, file.realPath, file.renameTo ?? file.realPath]),
    ];
    if (touched.includes(path)) return `the unfinished migration ${id} has to do with it`;
  }
  return undefined;
}

/** Of one that was only planned there is no mark; a name that has the migration's id in it is nobody else's. */
function notTheOne({ detail, name, migration }: LedgerEntry, mark: FileMark): string | undefined {
  // What was written to it since cannot be told apart from what its user put there.
  if (isMark(detail) && isPlaceholder(detail)) return 'a copy was to be put there: look at it, and remove it yourself';
  if (isMark(detail)) return sameMark(detail, mark) ? undefined : 'it is not the file that the migration made';
  if (basename(name).includes(migration)) return undefined;
  return 'whether it is the file that the migration began to make is not recorded: look at it, and remove it yourself';
}

function isMark(detail: unknown): detail is FileMark {
  return typeof detail === 'object' && detail !== null && 'ino' in detail && 'born' in detail;
}

async function notTheLink(path: string, { sourceFiles }: MigrationPlan): Promise<string | undefined> {
  const leadsTo = await readlink(path).catch(() => undefined);
  const ours = sourceFiles.some(({ link }) => link !== undefined && link === leadsTo);
  return ours ? undefined : 'it is not the link that the migration made';
}

async function inUse(path: string, others: readonly string[]): Promise<string | undefined> {
  const stat = await lstat(path);
  if (!stat.isFile()) return 'it is not a regular file';
  const image = { path, realPath: await realpath(path), nlink: stat.nlink };
  const users = await otherUsersOf(image, { exceptImages: others });
  const [opener] = users.processes;
  if (opener) return `${opener.program} (pid ${opener.pid}) has it open`;
  if (users.loopDevices.length > 0) return `${users.loopDevices.join(', ')} is on it`;
  if (users.overlays.length > 0) return `the image ${users.overlays.join(', ')} stands on it`;
  if (!users.processesComplete) return 'whether somebody has it open cannot be seen by this user: run as root';
  if (!users.overlaysComplete) return 'whether an image beside it stands on it could not be seen';
  return undefined;
}
