import { ignoreMissing } from '../../base/index.ts';
import type { Host } from '../host.ts';
import type { MigrationJournal } from '../migration-journal.ts';
import type { MigrationPlan } from '../plan/plan.ts';

/** What a file below an overlay looked like when it was frozen: whoever changes it changes one of these. */
export interface Stamp {
  readonly path: string;
  readonly dev: string;
  readonly ino: string;
  readonly size: string;
  /** Nanoseconds since 1970 of the last change of its contents. */
  readonly mtime: string;
}

/** Stamps the active images; to be called when the snapshot has frozen them. */
export async function stampImages(host: Host, { disks }: MigrationPlan): Promise<readonly Stamp[]> {
  return await Promise.all(disks.map(({ active }) => host.stampOf(active.realPath)));
}

/**
 * What the active images were like when the snapshot froze them; nothing where it was not confirmed, or where overlays have
 * begun to be folded back into them.
 */
export function stampsOf(journal: Pick<MigrationJournal, 'steps' | 'ledger'>, id: string): readonly Stamp[] {
  const snapshot = journal.steps(id).find(({ step }) => step === 'snapshot');
  const foldedBack = journal.ledger(id, { kind: 'job' }).some(({ role }) => role === 'fold-back');
  if (foldedBack || (snapshot?.state !== 'done' && snapshot?.state !== 'undoing')) return [];
  return (snapshot.detail as { stamps?: readonly Stamp[] } | null)?.stamps ?? [];
}

/**
 * Images that are there and not as they were stamped: somebody has written to what an overlay stands on. Device numbers
 * may be others after a reboot, so they do not count.
 */
export async function changedImages(host: Host, stamps: readonly Stamp[]): Promise<readonly string[]> {
  const changed: string[] = [];
  for (const stamp of stamps) {
    const now = await host.stampOf(stamp.path).catch(ignoreMissing);
    if (now === undefined) continue;
    if (now.ino !== stamp.ino || now.size !== stamp.size || now.mtime !== stamp.mtime) changed.push(stamp.path);
  }
  return changed;
}
