import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { NbdClient } from './nbd-client.ts';
import { StorageDaemon, type StorageDaemonOptions } from './storage-daemon.ts';

/** The guest's view of an image chain. */
export interface OpenChain extends AsyncDisposable {
  /** The virtual size in bytes. */
  readonly size: number;
  read(offset: number, length: number): Promise<Buffer>;
}

/** An image with its backing chain. */
export interface ImageToRead {
  readonly path: string;
  /** Of the top image: `qcow2` or `raw`. */
  readonly format: string;
}

/** Several chains that one storage daemon reads, in the order in which they were asked for. */
export interface OpenChains extends AsyncDisposable {
  readonly chains: readonly Omit<OpenChain, keyof AsyncDisposable>[];
}

/**
 * Opens images with their backing chains, as their headers name them, for reading only. A VM may hold them at the same time:
 * locks are not taken (`force-share`), so the caller sees to it that nothing is written meanwhile.
 *
 * They are read through a storage daemon of their own: nothing is copied, and holes cost nothing.
 *
 * @param build Whose storage daemon reads. Default: as for `StorageDaemon`.
 */
export async function openChains(
  images: readonly ImageToRead[],
  build?: StorageDaemonOptions['build'],
): Promise<OpenChains> {
  const directory = await mkdtemp(join(tmpdir(), 'chain-'));
  const clients: NbdClient[] = [];
  let daemon: StorageDaemon | undefined;
  const close = async (): Promise<void> => {
    for (const client of clients) await client[Symbol.asyncDispose]();
    await daemon?.[Symbol.asyncDispose]();
    await rm(directory, { recursive: true, force: true });
  };
  try {
    daemon = await StorageDaemon.start({
      directory,
      nodes: images.map(({ path, format }, n) => ({
        driver: format,
        'node-name': `top${n}`,
        'read-only': true,
        'force-share': true,
        file: { driver: 'file', filename: path },
      })),
      exports: images.map((_, n) => ({ name: `top${n}`, node: `top${n}`, writable: false })),
      ...(build === undefined ? {} : { build }),
    });
    for (const n of images.keys()) clients.push(await daemon.connect(`top${n}`));
  } catch (error) {
    await close();
    throw error;
  }
  return {
    chains: clients.map((client) => ({
      size: client.info.size,
      read: (offset, length) => client.read(offset, length),
    })),
    [Symbol.asyncDispose]: close,
  };
}

/**
 * Opens one image with its backing chain; see `openChains`.
 *
 * @param format The format of the top image: `qcow2` or `raw`.
 */
export async function openChain(
  path: string,
  format: string,
  build?: StorageDaemonOptions['build'],
): Promise<OpenChain> {
  const open = await openChains([{ path, format }], build);
  const [chain] = open.chains;
  if (chain === undefined) throw new Error(`no chain was opened for ${path}`);
  return { ...chain, [Symbol.asyncDispose]: () => open[Symbol.asyncDispose]() };
}
