import { dirname } from 'node:path';
import { ferryError, messageOf } from '../base/index.ts';
import type { Run } from './run.ts';

/** How long a storage may take to answer before it is said to hang, in milliseconds. It is waited for all the same. */
const ANSWER_MS = 5000;
/** And before what needs it is left undone: one that is busy takes its time. */
const PATIENCE_MS = 10_000;
const LOOK_EVERY_MS = 200;
const ATTEND_EVERY_MS = 5000;

export type Side = 'source' | 'target';

/** What of each side was last found to hang. */
const hanging = new WeakMap<Run, Map<Side, string>>();

/**
 * Asks the storages of one side whether they answer; what changes is told.
 * @param withinMs default: ten seconds, or five where they did not answer before
 * @returns the path whose storage does not
 */
export async function whatHangs(
  run: Run,
  side: Side,
  withinMs: number = hanging.get(run)?.has(side) ? ANSWER_MS : PATIENCE_MS,
): Promise<string | undefined> {
  const found = await ask(run, side, withinMs);
  tell(run, side, found);
  return found;
}

/** The same without a word, and within a time of the caller's choice. */
export async function ask(run: Run, side: Side, withinMs: number): Promise<string | undefined> {
  const paths = askedOf(run, side);
  const answers = await Promise.all(paths.map((path) => run.host.storageAnswers(path, withinMs)));
  return paths.find((_, n) => !answers[n]);
}

function tell(run: Run, side: Side, found: string | undefined): void {
  const known = hanging.get(run) ?? new Map<Side, string>();
  hanging.set(run, known);
  const before = known.get(side);
  if (found !== undefined && before === undefined) {
    known.set(side, found);
    run.emit({ type: 'warning', message: `the storage of ${found} does not answer: what needs it has to wait` });
  }
  if (found === undefined && before !== undefined) {
    known.delete(side);
    run.emit({ type: 'warning', message: `the storage of ${before} answers again` });
  }
}

/**
 * Asked before what would make QEMU wait in its main loop for a storage, and with QEMU every disk and processor of the guest:
 * opening and closing an image, reopening it, stopping the processors (7.2 and 10.0; `job-cancel` and `job-complete` do not).
 * @throws FerryError STORAGE_HANGS
 */
export async function requireAnswers(run: Run, side: Side): Promise<void> {
  const path = await whatHangs(run, side);
  if (path !== undefined) throw ferryError('STORAGE_HANGS', { path, id: run.plan.id });
}

/**
 * Waits until the storages of one side answer. There is no time limit: it is waited for, and said to be.
 * @throws the reason of `run.control.signal` where a person's wish to stop still counts
 */
export async function untilAnswering(run: Run, side: Side): Promise<void> {
  heedStop(run);
  while ((await whatHangs(run, side, ANSWER_MS)) !== undefined) {
    heedStop(run);
    await run.clock.sleep(LOOK_EVERY_MS);
  }
  heedStop(run);
}

/** After the commit record, and on the way back, there is nothing to abort. */
function heedStop({ control, journal, plan }: Run): void {
  const forward = journal.commitRecord(plan.id, 'pivot') === undefined && journal.migration(plan.id).goal === 'forward';
  if (control.stopped === 'leave' || forward) control.signal.throwIfAborted();
}

/**
 * Does a step's work, and says so when it takes long because a storage does not answer: what this process asks of such a
 * storage comes back when that does, and not before.
 */
export async function attended<T>(run: Run, work: () => Promise<T>): Promise<T> {
  const over = new AbortController();
  // It only tells. Where that fails, as with a journal that cannot be written, the work has to go on.
  attend(run, over.signal).catch(messageOf);
  try {
    return await work();
  } finally {
    over.abort();
  }
}

async function attend(run: Run, over: AbortSignal): Promise<void> {
  for (;;) {
    await run.clock.sleep(ATTEND_EVERY_MS, over).catch(messageOf);
    for (const side of ['source', 'target'] as const) {
      if (over.aborted) return;
      const found = await ask(run, side, ANSWER_MS);
      if (!over.aborted) tell(run, side, found);
    }
    if (over.aborted) return;
  }
}

/** One path for each folder: a file where there is one, because a file system may answer for a folder out of memory. */
function askedOf({ plan, ledger }: Run, side: Side): readonly string[] {
  const byFolder = new Map<string, string>();
  for (const { folder, targetOverlay, sourceOverlay, active } of plan.disks) {
    const [overlay, otherwise] = side === 'target' ? [targetOverlay, folder] : [sourceOverlay, active.realPath];
    byFolder.set(dirname(overlay), ledger.isMade('file', overlay) ? overlay : otherwise);
  }
  return [...byFolder.values()];
}
