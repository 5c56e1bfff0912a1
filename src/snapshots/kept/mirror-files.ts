import { dirname } from 'node:path';
import { isFerryError, messageOf } from '../../base/index.ts';
import {
  type Chain,
  chainRefusals,
  hasSameContent,
  probeChain,
  sameFile,
  syncFile,
  syncFolder,
} from '../../image/index.ts';
import type { MigrationPlan, PlannedDisk } from '../../migration/index.ts';
import { refusal } from '../snapshot-error.ts';
import { backingOf, checkEmptyOverlay, checkPrepared, type OverlayFile, unfitFile } from './overlay-file.ts';

/** The new file of a disk and its twin, by the names that the user gave or that were made for them. */
export interface MirrorFiles extends OverlayFile {
  /** Its twin on the target. */
  readonly mirror: string;
}

/**
 * Checks files that the user has prepared (`--reuse-external`): the source as of any snapshot; its twin the same, but on an
 * image of the target's, which need not be there yet.
 * @throws SnapshotError, or FerryError for files that cannot be read
 */
export async function checkPreparedMirror(files: MirrorFiles): Promise<void> {
  await checkPrepared(files);
  await checkEmptyOverlay(files, files.mirror);
  const target = await backingOf(files.mirror);
  if (target === undefined) throw unfitFile(files.mirror, 'it has no backing file');
  if (await sameFile(target, files.active.path).catch(() => false)) {
    throw unfitFile(
      files.mirror,
      `its backing file is that of the source, ${target}: the mirror has to stand on a copy of it`,
    );
  }
}

/**
 * Before the pivot: the chains below the mirrors, which the user has copied, hold what the source's hold, and are on their
 * storage.
 * @param chains the images below each disk's mirror that will be opened whatever the headers say, from the top
 * @returns the plan with these chains
 * @throws SnapshotError when one is not there, or not a copy; nothing was changed
 */
export async function copiedChains(
  plan: MigrationPlan,
  chains?: ReadonlyMap<string, readonly string[]>,
): Promise<MigrationPlan> {
  const copied = [];
  for (const disk of plan.disks) copied.push(await copiedChain(disk, chains?.get(disk.id)));
  return {
    ...plan,
    disks: copied.map(({ disk }) => disk),
    copiedByUser: [...new Set(copied.flatMap(({ images }) => images))],
  };
}

interface CopiedChain {
  readonly disk: PlannedDisk;
  readonly images: readonly string[];
}

async function copiedChain(disk: PlannedDisk, expected: readonly string[] | undefined): Promise<CopiedChain> {
  const { id, active, size, targetOverlay } = disk;
  const target = await backingOf(targetOverlay);
  if (target === undefined) throw uncopied(id, `${targetOverlay} has no backing file`);
  const chain = await chainOf(id, target, active.format);
  const [problem] = chainRefusals(chain);
  if (problem !== undefined) throw uncopied(id, problem.message);
  const [top] = chain;
  if (top?.virtualSize !== size) throw uncopied(id, `${target} has ${top?.virtualSize} bytes, the disk has ${size}`);
  if (await sameFile(target, active.realPath)) throw uncopied(id, `${target} is the source itself`);
  if (expected !== undefined && !(await sameFiles(chain, expected))) {
    const found = chain.map(({ path }) => path).join(' on ');
    throw uncopied(id, `libvirt has taken it to be ${expected.join(' on ')}, and it is ${found}`);
  }
  if (
    !(await hasSameContent({ path: active.realPath, format: active.format }, { path: target, format: active.format }))
  ) {
    throw uncopied(id, `${target} does not hold the same as ${active.path}`);
  }
  // The user's cp has left them in the page cache; after the commit record they are all that there is.
  for (const { realPath } of chain) await syncFile(realPath);
  for (const folder of new Set(chain.map(({ realPath }) => dirname(realPath)))) await syncFolder(folder);
  return {
    disk: { ...disk, target, depth: chain.length - 1 },
    images: chain.map(({ realPath }) => realPath),
  };
}

async function sameFiles(chain: Chain, paths: readonly string[]): Promise<boolean> {
  if (chain.length !== paths.length) return false;
  for (const [index, { realPath }] of chain.entries()) {
    if (!(await sameFile(realPath, paths[index] ?? '').catch(() => false))) return false;
  }
  return true;
}

async function chainOf(disk: string, target: string, format: string): ReturnType<typeof probeChain> {
  try {
    return await probeChain(target, { format, shared: true });
  } catch (error) {
    if (isFerryError(error, 'IMAGE_MISSING', 'IMAGE_BROKEN')) throw uncopied(disk, messageOf(error));
    throw error;
  }
}

function uncopied(disk: string, what: string): Error {
  return refusal(
    'VIR_ERR_OPERATION_INVALID',
    `the chain below the mirror of '${disk}' is not a copy of the source's: ${what}; the mirrors stand as before`,
  );
}
