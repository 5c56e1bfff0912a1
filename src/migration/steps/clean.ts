import { lstat, rename, rm, symlink } from 'node:fs/promises';
import { dirname } from 'node:path';
import { errnoOf } from '../../base/index.ts';
import { foldOffline, syncFolder } from '../../image/index.ts';
import type { SourceFile } from '../plan.ts';
import type { Run } from '../run.ts';
import type { Step } from './step.ts';

/** The source is let go: its nodes are closed, its files removed or put aside as asked. */
export const clean: Step = {
  name: 'clean',

  look: () => Promise.resolve('open'),

  intend: () => undefined,

  async act(run) {
    const { plan, ledger } = run;
    await closeSource(run);
    const open = new Set((await run.vm.openFiles())?.map(({ dev, ino }) => `${dev}:${ino}`) ?? []);
    for (const file of plan.sourceFiles) await letGo(run, file, open);
    for (const disk of plan.disks) {
      await rm(disk.sourceOverlay, { force: true });
      await syncFolder(dirname(disk.sourceOverlay));
      ledger.gone('file', disk.sourceOverlay);
    }
  },

  /** What is left in the ledger is the VM's own now: its new images and the nodes that it runs on. */
  confirm({ ledger }) {
    for (const kind of ['file', 'node', 'job'] as const) ledger.gone(kind, ...ledger.live(kind));
    return Promise.resolve();
  },

  // After the commit record nothing is undone.
  undo: () => Promise.resolve(),
};

/** Overlay first, then the chain below it from the top: QEMU refuses to close a node that another stands on. */
async function closeSource({ plan, vm, ledger }: Run): Promise<void> {
  const overlays = plan.disks.map(({ nodes }) => nodes.source);
  await vm.closeNodes(overlays);
  ledger.gone('node', ...overlays);
  // A base that a disk which stays stands on as well is not ours to close.
  await vm.closeUnusedNodes(plan.disks.flatMap(({ oldNodes }) => oldNodes));
}

async function letGo(run: Run, file: SourceFile, open: ReadonlySet<string>): Promise<void> {
  const { path, realPath, action, link } = file;
  const warn = (message: string): void => run.emit({ type: 'warning', message });
  if (action === 'keep') return;
  const found = await identity(realPath);
  // An interrupted attempt has been here.
  if (found === undefined) return addLink(run, file);
  if (found !== `${file.dev}:${file.ino}`) {
    return warn(`${realPath} is not the file that was there when the migration began: it is left alone`);
  }
  if (open.has(found)) return warn(`${realPath} is left alone: the VM's QEMU still has it open`);
  if (action === 'rename' && file.renameTo !== undefined) {
    await mergeOverlay(run, realPath);
    await rename(realPath, file.renameTo);
  } else {
    await rm(realPath);
  }
  await syncFolder(dirname(realPath));
  if (path !== realPath && link === undefined) warn(`the symbolic link ${path} led to ${realPath}, which is gone now`);
  return addLink(run, file);
}

/** A source that is kept is kept as it was at the swap, in one piece: with what the guest wrote since the snapshot. */
async function mergeOverlay({ plan }: Run, realPath: string): Promise<void> {
  const disk = plan.disks.find(({ active }) => active.realPath === realPath);
  if (disk !== undefined && (await identity(disk.sourceOverlay)) !== undefined) await foldOffline(disk.sourceOverlay);
}

async function addLink({ plan }: Run, { path, link }: SourceFile): Promise<void> {
  if (link === undefined) return;
  // Renamed over the old name, so that there is no moment at which the VM's start command finds nothing.
  const temporary = `${path}.link-${plan.id}`;
  await rm(temporary, { force: true });
  await symlink(link, temporary);
  await rename(temporary, path);
  await syncFolder(dirname(path));
}

async function identity(path: string): Promise<string | undefined> {
  try {
    const { dev, ino } = await lstat(path, { bigint: true });
    return `${dev}:${ino}`;
  } catch (error) {
    if (errnoOf(error) === 'ENOENT') return undefined;
    throw error;
  }
}
