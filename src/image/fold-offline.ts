import { ferryError, isFerryError } from '../base/index.ts';
import { checkChain } from './check-chain.ts';
import { openersOf } from './file-openers.ts';
import type { Chain } from './image-info.ts';
import { type BlockOptions, fileNode, jsonName, qemuImg } from './qemu-img.ts';
import { probeChain, type ProbeChainOptions } from './probe.ts';
import { syncFile } from './sync.ts';

export interface FoldOptions extends Omit<ProbeChainOptions, 'shared' | 'format'> {
  /** From 0 to 1. */
  readonly onProgress?: (fraction: number) => void;
}

/**
 * Writes what a qcow2 overlay holds into the image below it (`qemu-img commit -d`), while no QEMU runs. The overlay stays
 * as it is, so that this can be repeated after a crash at any moment; the image below is on the storage when it returns.
 *
 * The images are given to qemu-img one by one as they were examined: it follows no name of a header.
 * @returns the chain as it was examined, the overlay first
 * @throws FerryError IMAGE_IN_USE when a process has any of the images open that would have to be still, NOT_AN_OVERLAY, those
 *   of `probeChain` and `checkChain`, TOOL_MISSING, TOOL_FAILED (the overlay still holds everything); the signal's reason
 */
export async function foldOffline(overlay: string, { onProgress, ...probe }: FoldOptions = {}): Promise<Chain> {
  const chain = await probeChain(overlay, { format: 'qcow2', ...probe });
  checkChain(chain);
  const [top, below] = chain;
  if (!top || !below) throw ferryError('NOT_AN_OVERLAY', { path: overlay });
  for (const { path } of [top, below]) {
    const { openers } = await openersOf(path);
    if (openers.some(({ pid }) => pid !== process.pid)) throw ferryError('IMAGE_IN_USE', { path });
  }
  const report = progressReader(onProgress ?? (() => undefined));
  try {
    await qemuImg(top.path, ['commit', '-d', '-p', jsonName(chainNode(chain))], {
      onStdout: report,
      moves: chain.length,
      ...(probe.signal && { signal: probe.signal }),
    });
  } catch (error) {
    if (!isFerryError(error, 'IMAGE_IN_USE')) throw error;
    throw ferryError('IMAGE_IN_USE', { path: below.path }, { cause: error });
  }
  await syncFile(below.path);
  return chain;
}

/** The whole chain as one description of nodes. */
function chainNode(chain: Chain): BlockOptions {
  return chain.toReversed().reduce<BlockOptions | null>((backing, { format, path, blockDevice }) => {
    const node = { driver: format, file: fileNode(path, blockDevice) };
    // A raw image has no backing image, and QEMU knows no such option for it.
    return format === 'qcow2' ? { ...node, backing } : node;
  }, null) as BlockOptions;
}

/** Reads what `-p` prints, `    (12.34/100%)\r`, in whatever pieces it comes. */
function progressReader(onProgress: (fraction: number) => void): (text: string) => void {
  let rest = '';
  return (text) => {
    const parts = (rest + text).split('\r');
    rest = parts.pop() ?? '';
    for (const part of parts) {
      const percent = /\((\d+(?:\.\d+)?)\/100%\)/.exec(part)?.[1];
      if (percent !== undefined) onProgress(Number(percent) / 100);
    }
  };
}
