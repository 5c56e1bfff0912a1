import { type Host, identityOf } from './host.ts';
import type { Ledger } from './run.ts';
import type { MigrationPlan, SourceFile } from './plan/plan.ts';

/**
 * Removes the source's files, or puts them aside, as planned. May be called again on what an interrupted attempt left.
 * @param spared files, as `DEV:INO`, that must stay all the same, and why
 * @param warn told of each file that is left alone although it was to go, and why
 */
export async function letGoOfSource(
  host: Host,
  plan: MigrationPlan,
  spared: ReadonlyMap<string, string>,
  warn: (message: string) => void,
): Promise<void> {
  for (const file of plan.sourceFiles) if (file.action !== 'keep') await letGo(host, plan, file, spared, warn);
  if (plan.request.snapshot?.prepared) return;
  for (const disk of plan.disks) {
    // What somebody has gone on from is kept together with what it should have gone on from.
    if (spared.has((await identityOf(host, disk.active.realPath)) ?? '')) continue;
    await host.removeFile(disk.sourceOverlay);
  }
}

async function letGo(
  host: Host,
  plan: MigrationPlan,
  file: SourceFile,
  spared: ReadonlyMap<string, string>,
  warn: (message: string) => void,
): Promise<void> {
  const { path, realPath, action, link, renameTo } = file;
  const found = await identityOf(host, realPath);
  // An interrupted attempt has been here.
  if (found === undefined) return addLink(host, plan, file);
  if (link !== undefined && (await host.readLink(realPath)) === link) return undefined;
  if (found !== `${file.dev}:${file.ino}`) {
    return warn(`${realPath} is not the file that was there when the migration began: it is left alone`);
  }
  const reason = spared.get(found);
  if (reason !== undefined) return warn(`${realPath} is left alone: ${reason}`);
  if (action === 'rename' && renameTo !== undefined) {
    await mergeOverlay(host, plan, realPath);
    await host.renameFile(realPath, renameTo);
  } else {
    await host.removeFile(realPath);
  }
  if (path !== realPath && link === undefined) warn(`the symbolic link ${path} led to ${realPath}, which is gone now`);
  return addLink(host, plan, file);
}

/** A source that is kept is kept as it was at the swap, in one piece: with what the guest wrote since the snapshot. */
async function mergeOverlay(host: Host, { disks, copies }: MigrationPlan, realPath: string): Promise<void> {
  const disk = disks.find(({ active }) => active.realPath === realPath);
  if (disk === undefined || (await identityOf(host, disk.sourceOverlay)) === undefined) return;
  await host.foldOffline(disk.sourceOverlay, { within: copies.map(({ source }) => source) });
}

/**
 * Takes out of the ledger what is the VM's own now, and what is not there (any more). A source overlay that was left alone
 * with its image stays in it, for `blockferry gc`.
 */
export async function handOver(host: Host, { copies, disks }: MigrationPlan, ledger: Ledger): Promise<void> {
  const own = new Set([...copies.map(({ target }) => target), ...disks.map(({ targetOverlay }) => targetOverlay)]);
  for (const path of ledger.live('file')) {
    if (own.has(path) || (await identityOf(host, path)) === undefined) ledger.gone('file', path);
  }
}

/** The names that links to the moved images have before they are put in the place of the old paths. */
export function linkTemporaries({ id, sourceFiles }: MigrationPlan): readonly string[] {
  return sourceFiles.flatMap(({ path, link }) => (link === undefined ? [] : [temporaryOf(id, path)]));
}

function temporaryOf(id: string, path: string): string {
  return `${path}.link-${id}`;
}

async function addLink(host: Host, { id }: MigrationPlan, { path, link }: SourceFile): Promise<void> {
  if (link === undefined) return;
  // Renamed over the old name, so that there is no moment at which the VM's start command finds nothing.
  const temporary = temporaryOf(id, path);
  await host.removeFile(temporary);
  await host.makeLink(link, temporary);
  await host.renameFile(temporary, path);
}
