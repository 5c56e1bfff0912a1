import { realpathSync } from 'node:fs';
import { dirname } from 'node:path';
import { isFerryError, messageOf } from '../../base/index.ts';
import {
  type Chain,
  chainRefusals,
  hasSameContent,
  isEmptyOverlay,
  probeChain,
  probeImage,
  resolveBackingName,
  sameFile,
  syncFile,
  syncFolder,
} from '../../image/index.ts';
import type { MigrationPlan, PlannedDisk } from '../../migration/index.ts';
import { refusal } from '../snapshot-error.ts';

/** The new file of a disk and its twin, by the names that the user gave or that were made for them. */
export interface MirrorFiles {
  readonly disk: string;
  /** The file that takes the guest's writes. */
  readonly source: string;
  /** Its twin on the target. */
  readonly mirror: string;
  /** What is active now. */
  readonly active: { readonly path: string; readonly format: string };
  /** Bytes that the guest sees. */
  readonly size: number;
}

/**
 * Checks files that the user has prepared (`--reuse-external`): empty qcow2 overlays of the disk's size; the source on the
 * active image, its twin on an image of the target's, which need not be there yet.
 * @throws SnapshotError, or FerryError for files that cannot be read
 */
export async function checkPrepared(files: MirrorFiles): Promise<void> {
  for (const path of [files.source, files.mirror]) await checkOverlay(files, path);
  const [below, target] = await Promise.all([files.source, files.mirror].map(backingOf));
  if (below === undefined || !(await sameFile(below, files.active.path).catch(() => false))) {
    throw wrong(files.source, `its backing file is ${below ?? 'none'}, not ${files.active.path}`);
  }
  if (target === undefined) throw wrong(files.mirror, 'it has no backing file');
  if (await sameFile(target, files.active.path).catch(() => false)) {
    throw wrong(
      files.mirror,
      `its backing file is that of the source, ${target}: the mirror has to stand on a copy of it`,
    );
  }
}

function wrong(path: string, what: string): Error {
  return refusal('VIR_ERR_CONFIG_UNSUPPORTED', `the prepared file ${path} does not fit: ${what}`);
}

async function checkOverlay({ size, active }: MirrorFiles, path: string): Promise<void> {
  const { virtualSize, backing } = await probePrepared(path);
  if (virtualSize !== size) throw wrong(path, `it has a size of ${virtualSize} bytes, the disk has ${size}`);
  if (backing?.format !== active.format) {
    throw wrong(
      path,
      `its header states the format ${backing?.format ?? 'of nothing'} for what is below it, not ${active.format}`,
    );
  }
  if (!(await isEmptyOverlay(path))) throw wrong(path, 'it is not empty');
}

async function probePrepared(path: string): ReturnType<typeof probeImage> {
  try {
    return await probeImage(path, { format: 'qcow2' });
  } catch (error) {
    if (isFerryError(error, 'IMAGE_MISSING')) throw wrong(path, 'it does not exist');
    if (isFerryError(error, 'IMAGE_BROKEN')) throw wrong(path, messageOf(error));
    throw error;
  }
}

/** What the header of an overlay names as the image below, as QEMU would open it. */
export async function backingOf(path: string): Promise<string | undefined> {
  const { backing, realPath } = await probeImage(path, { format: 'qcow2', shared: true });
  return backing && resolveBackingName(realPath, backing.written);
}

/** Names that may not be given twice, or to what is there already. */
export function checkNames(all: readonly MirrorFiles[]): void {
  const taken = new Set(all.map(({ active }) => realOf(active.path)));
  for (const path of all.flatMap(({ source, mirror }) => [source, mirror])) {
    const real = realOf(path);
    if (taken.has(real)) {
      throw refusal('VIR_ERR_CONFIG_UNSUPPORTED', `the file ${path} is asked for twice, or is an image that is in use`);
    }
    taken.add(real);
  }
}

function realOf(path: string): string {
  try {
    return realpathSync(path);
  } catch {
    // It is still to be made.
    return path;
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
