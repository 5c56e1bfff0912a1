import { readdir, readFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { errnoOf, isFerryError } from '../base/index.ts';
import { isProtocolName, resolveBackingName } from './backing-name.ts';
import { sameFile } from './file-identity.ts';
import { type Opener, openersOf } from './file-openers.ts';
import type { ImageInfo } from './image-info.ts';
import { readMounts } from './mounts.ts';
import { openImage } from './open-image.ts';
import { readQcow2Header } from './qcow2-header.ts';

export interface OtherUsersOptions {
  /** Processes that may have it open: the VM itself. This process is never counted. */
  readonly exceptPids?: readonly number[];
  /** Images that may name it as their backing image: those of the chain itself. */
  readonly exceptImages?: readonly string[];
  /** Folders whose images are looked at besides the image's own. */
  readonly folders?: readonly string[];
  readonly signal?: AbortSignal;
}

/** Who else needs an image. Nobody does when all lists are empty and both `complete` flags are set. */
export interface OtherUsers {
  readonly processes: readonly Opener[];
  /** False when the descriptors of some process could not be read. */
  readonly processesComplete: boolean;
  /** Loop devices (`/dev/loop0`): the kernel holds the file, and no process shows it. */
  readonly loopDevices: readonly string[];
  /** qcow2 images whose headers name it as their backing image. */
  readonly overlays: readonly string[];
  /** False when a folder could not be read, an image in it could not, or it has more than 10,000 files. */
  readonly overlaysComplete: boolean;
  /** Further names of the same file. */
  readonly extraLinks: number;
}

const MAX_FILES = 10_000;

/**
 * Looks for other users of an image, before it is removed: processes that have it open, loop devices, overlays beside it
 * and hard links. What is on other hosts, or off and in other folders, is not seen.
 */
export async function otherUsersOf(
  image: Pick<ImageInfo, 'path' | 'realPath' | 'nlink'>,
  options: OtherUsersOptions = {},
): Promise<OtherUsers> {
  const except = new Set([process.pid, ...(options.exceptPids ?? [])]);
  const { openers, complete } = await openersOf(image.realPath);
  const folders = new Set([dirname(image.path), dirname(image.realPath), ...(options.folders ?? [])]);
  const exceptImages = [image.path, ...(options.exceptImages ?? [])];
  const scans = await Promise.all(
    [...folders].map(async (folder) => await overlaysIn(folder, image.realPath, exceptImages, options.signal)),
  );
  return {
    processes: openers.filter(({ pid }) => !except.has(pid)),
    processesComplete: complete,
    loopDevices: await loopDevicesOn(image.realPath),
    overlays: [...new Set(scans.flatMap((scan) => scan.overlays))].sort(),
    overlaysComplete: scans.every((scan) => scan.complete),
    extraLinks: image.nlink - 1,
  };
}

interface Scan {
  readonly overlays: readonly string[];
  readonly complete: boolean;
}

async function overlaysIn(
  folder: string,
  base: string,
  except: readonly string[],
  signal?: AbortSignal,
): Promise<Scan> {
  const overlays: string[] = [];
  let complete = true;
  const entries = await readdir(folder, { withFileTypes: true }).catch(() => undefined);
  if (!entries) return { overlays, complete: false };
  const files = entries.filter((entry) => entry.isFile() || entry.isSymbolicLink());
  for (const { name } of files.slice(0, MAX_FILES)) {
    signal?.throwIfAborted();
    const path = join(folder, name);
    try {
      const backing = await backingOf(path);
      if (backing === undefined || !(await sameFile(backing, base))) continue;
      const excepted = await Promise.all(except.map(async (other) => await sameFile(other, path)));
      if (!excepted.includes(true)) overlays.push(path);
    } catch (error) {
      if (errnoOf(error) !== 'ENOENT' && !isFerryError(error, 'IMAGE_KIND')) complete = false;
    }
  }
  return { overlays, complete: complete && files.length <= MAX_FILES };
}

/** The path of the backing image that a file names, when it is a qcow2 image that names a file. */
async function backingOf(path: string): Promise<string | undefined> {
  await using file = await openImage(path);
  if (!(await file.stat()).isFile()) return undefined;
  const written = (await readQcow2Header(file))?.backingName;
  return written === undefined || isProtocolName(written) ? undefined : resolveBackingName(path, written);
}

async function loopDevicesOn(path: string): Promise<string[]> {
  const devices = await readdir('/sys/block').catch(() => []);
  const mounts = await readMounts();
  const found: string[] = [];
  for (const device of devices.filter((name) => name.startsWith('loop'))) {
    const file = await readFile(`/sys/block/${device}/loop/backing_file`, 'utf8').catch(() => '');
    // The kernel writes the name with a newline behind it, and it may be that of a hard link.
    const name = file.replace(/\n$/, '');
    // One on another file system is another file: that is not looked at, as its server may be gone for good.
    if (!name || mounts.deviceOf(name) !== mounts.deviceOf(path)) continue;
    if (await sameFile(name, path)) found.push(`/dev/${device}`);
  }
  return found;
}
