import type { BigIntStats } from 'node:fs';
import { realpath } from 'node:fs/promises';
import { resolve } from 'node:path';
import { errnoOf, ferryError, isFerryError, messageOf } from '../base/index.ts';
import { resolveBackingName } from './backing-name.ts';
import { checkNextLink } from './check-chain.ts';
import { guessFormat } from './image-format.ts';
import type { BackingLink, Chain, ImageBitmap, ImageInfo } from './image-info.ts';
import { openImage } from './open-image.ts';
import { type BlockOptions, fileNode, jsonName, lastLine, qemuImg, stderrOf } from './qemu-img.ts';
import { type Qcow2Header, readAt, readQcow2Header } from './qcow2-header.ts';

export interface ProbeOptions {
  /** The format that the VM or the user states. Without it the format is guessed and marked so. */
  readonly format?: string;
  /** A VM has the image open: QEMU's locks are passed over (`qemu-img info -U`). */
  readonly shared?: boolean;
  readonly signal?: AbortSignal;
}

export interface ProbeChainOptions extends ProbeOptions {
  /** What the VM states of each image of the chain, active first. Fills in what headers leave unsaid. */
  readonly formats?: readonly string[];
  /**
   * The images, by their real paths, that the chain is known to have: a header that leads to any other is not followed.
   * Without it every plain file name is.
   */
  readonly within?: readonly string[];
}

/** A look at one image takes milliseconds, and nothing depends on one that does not end. */
const PROBE_LIMITS = { timeoutMs: 60_000 } as const;

/** The part of `qemu-img info --output=json` (QMP `ImageInfo`) that is used. */
interface QemuImgInfo {
  readonly 'virtual-size': number;
  readonly 'dirty-flag'?: boolean;
  readonly encrypted?: boolean;
  readonly 'cluster-size'?: number;
  readonly snapshots?: readonly unknown[];
  readonly 'format-specific'?: {
    readonly data?: {
      readonly compat?: string;
      readonly corrupt?: boolean;
      readonly 'extended-l2'?: boolean;
      readonly bitmaps?: readonly ImageBitmap[];
    };
  };
}

/**
 * Looks at one image without opening its backing image or anything else that its header names.
 * @throws FerryError IMAGE_MISSING, IMAGE_UNREADABLE, IMAGE_KIND (a folder, a pipe, …), IMAGE_BROKEN (it is not what was
 *   stated, or QEMU cannot read it), IMAGE_IN_USE (open elsewhere, and `shared` was not given), TOOL_MISSING
 */
export async function probeImage(path: string, options: ProbeOptions = {}): Promise<ImageInfo> {
  options.signal?.throwIfAborted();
  const absolute = resolve(path);
  const { stat, header, fileSize, guess } = await readStart(absolute);
  const format = options.format ?? guess;
  if (format === 'qcow2' && !header) {
    throw ferryError('IMAGE_BROKEN', { path: absolute, reason: 'it is not a qcow2 image' });
  }
  const qcow2 = format === 'qcow2' ? header : undefined;
  const known = {
    path: absolute,
    realPath: await realpath(absolute),
    format,
    formatStated: options.format !== undefined,
    blockDevice: stat.isBlockDevice(),
    fileSize,
    allocated: Number(stat.blocks) * 512,
    owner: { uid: Number(stat.uid), gid: Number(stat.gid), mode: Number(stat.mode) & 0o777 },
    dev: String(stat.dev),
    ino: String(stat.ino),
    nlink: Number(stat.nlink),
    ...(qcow2?.backingName !== undefined && { backing: backingLink(absolute, qcow2) }),
    ...(qcow2 && { clusterSize: qcow2.clusterSize, extendedL2: qcow2.extendedL2 }),
  };
  // QEMU's tools would open the external data file, and formats that are not moved may name other files as well.
  if ((format !== 'raw' && format !== 'qcow2') || qcow2?.dataFile !== undefined) {
    return {
      ...known,
      virtualSize: qcow2?.virtualSize ?? fileSize,
      encrypted: qcow2?.encrypted ?? format === 'luks',
      bitmaps: [],
      snapshotCount: qcow2?.snapshotCount ?? 0,
      corrupt: qcow2?.corrupt ?? false,
      dirty: qcow2?.dirty ?? false,
      ...(qcow2?.dataFile !== undefined && { dataFile: qcow2.dataFile }),
    };
  }
  const info = await qemuImgInfo(known, options);
  const data = info['format-specific']?.data;
  return {
    ...known,
    virtualSize: info['virtual-size'],
    encrypted: info.encrypted ?? false,
    bitmaps: data?.bitmaps ?? [],
    snapshotCount: info.snapshots?.length ?? 0,
    corrupt: data?.corrupt ?? false,
    dirty: info['dirty-flag'] ?? false,
    ...(data?.compat !== undefined && { compat: data.compat }),
  };
}

/**
 * Looks at an image and at every image behind it, one at a time: each backing name is examined before it is followed.
 * Only what prevents going on is an error here; `checkChain` says whether the chain can be moved.
 * @throws FerryError as `probeImage`, and BACKING_PROTOCOL, BACKING_LOOP, BACKING_TOO_DEEP, BACKING_ELSEWHERE
 */
export async function probeChain(path: string, options: ProbeChainOptions = {}): Promise<Chain> {
  const { formats = [], format, within, ...rest } = options;
  const stated = formats[0] ?? format;
  const chain = [await probeImage(path, { ...rest, ...(stated !== undefined && { format: stated }) })];
  for (let link = chain[0]?.backing; link; link = chain.at(-1)?.backing) {
    checkNextLink(chain);
    await refuseElsewhere(chain, link, within);
    const next = formats[chain.length] ?? link.format;
    chain.push(await probeImage(link.path, { ...rest, ...(next !== undefined && { format: next }) }));
    checkNextLink(chain);
  }
  return chain;
}

async function refuseElsewhere(chain: Chain, link: BackingLink, within: readonly string[] | undefined): Promise<void> {
  if (within === undefined || within.includes(await realPathOf(link.path))) return;
  throw ferryError('BACKING_ELSEWHERE', { path: chain.at(-1)?.path ?? '', name: link.written });
}

/** Nothing is opened for it. A name that leads nowhere stands for itself. */
async function realPathOf(path: string): Promise<string> {
  return await realpath(path).catch(() => path);
}

function backingLink(path: string, header: Qcow2Header): BackingLink {
  const written = header.backingName ?? '';
  return {
    written,
    path: resolveBackingName(path, written),
    ...(header.backingFormat !== undefined && { format: header.backingFormat }),
  };
}

interface Start {
  readonly stat: BigIntStats;
  readonly fileSize: number;
  readonly guess: string;
  readonly header: Qcow2Header | undefined;
}

async function readStart(path: string): Promise<Start> {
  try {
    await using file = await openImage(path);
    const stat = await file.stat({ bigint: true });
    const start = await readAt(file, 0, 4096);
    return {
      stat,
      fileSize: stat.isFile() ? Number(stat.size) : await blockDeviceSize(path),
      guess: guessFormat(start),
      header: await readQcow2Header(file),
    };
  } catch (error) {
    if (isFerryError(error)) throw error;
    if (['ENOENT', 'ENOTDIR'].includes(errnoOf(error) ?? '')) throw ferryError('IMAGE_MISSING', { path });
    throw ferryError('IMAGE_UNREADABLE', { path, reason: messageOf(error) }, { cause: error });
  }
}

async function blockDeviceSize(path: string): Promise<number> {
  const node = jsonName({ driver: 'raw', file: fileNode(path, true) });
  const { stdout } = await qemuImg(path, ['info', '--output=json', '-U', node], PROBE_LIMITS);
  return (JSON.parse(stdout) as QemuImgInfo)['virtual-size'];
}

type Named = Pick<ImageInfo, 'path' | 'format' | 'blockDevice'>;

async function qemuImgInfo(image: Named, { shared, signal }: ProbeOptions): Promise<QemuImgInfo> {
  const node: BlockOptions = {
    driver: image.format,
    file: fileNode(image.path, image.blockDevice),
    ...(image.format === 'qcow2' && { backing: null }),
  };
  const args = ['info', '--output=json', ...(shared ? ['-U'] : []), jsonName(node)];
  try {
    const { stdout } = await qemuImg(image.path, args, { ...PROBE_LIMITS, ...(signal && { signal }) });
    const info = JSON.parse(stdout) as QemuImgInfo;
    if (Number.isSafeInteger(info['virtual-size'])) return info;
    throw ferryError('IMAGE_BROKEN', { path: image.path, reason: 'its virtual size is beyond 8 PiB' });
  } catch (error) {
    if (!isFerryError(error, 'TOOL_FAILED')) throw error;
    const reason = lastLine(stderrOf(error)) || error.message;
    throw ferryError('IMAGE_BROKEN', { path: image.path, reason }, { cause: error, details: error.details });
  }
}
