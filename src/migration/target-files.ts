import { ferryError } from '../base/index.ts';
import { anothersText, type Run } from './run.ts';
import { whatHangs } from './storage-answers.ts';

/**
 * Removes files of ours from the target. Where its storage does not answer they stay, and stay in the ledger: they are nobody's
 * any more, and `gc` removes them one day.
 * @throws FerryError STORAGE_HANGS when it does not answer and the VM still has something open there
 */
export async function removeFromTarget(run: Run, paths: readonly string[]): Promise<void> {
  const { plan, host, ledger } = run;
  if (paths.length === 0) return;
  const hung = await whatHangs(run, 'target');
  if (hung === undefined) {
    for (const path of paths) {
      if (await ledger.isAnothers(path)) run.emit({ type: 'warning', message: anothersText(path) });
      else await host.removeFile(path);
      ledger.gone('file', path);
    }
    return;
  }
  if (isAnyNodeOpen(run)) throw ferryError('STORAGE_HANGS', { path: hung, id: plan.id });
  const message = `their storage does not answer, so these stay: ${paths.join(', ')}. When it does: blockferry gc --yes`;
  run.emit({ type: 'warning', message });
}

/** Whether the VM may have something open on the target that was written to, by the ledger. */
export function isTargetOpen({ plan, ledger }: Run): boolean {
  const live = new Set(ledger.live('node'));
  return plan.disks.some(({ nodes }) => live.has(nodes.mirror));
}

/** Whether the VM may have anything open there, by the ledger. */
export function isAnyNodeOpen({ plan, ledger }: Run): boolean {
  const live = new Set(ledger.live('node'));
  return plan.disks.some(({ nodes }) => [nodes.mirror, nodes.mirrorFile, nodes.base].some((node) => live.has(node)));
}
