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

/**
 * Opens an image with its backing chain, as its headers name it, for reading only. A VM may hold it at the same time:
 * locks are not taken (`force-share`), so the caller sees to it that nothing is written meanwhile.
 *
 * It reads through a storage daemon of its own: nothing is copied, and holes cost nothing.
 *
 * @param format The format of the top image: `qcow2` or `raw`.
 * @param build Whose storage daemon reads. Default: as for `StorageDaemon`.
 */
export async function openChain(
  path: string,
  format: string,
  build?: StorageDaemonOptions['build'],
): Promise<OpenChain> {
  const directory = await mkdtemp(join(tmpdir(), 'chain-'));
  let daemon: StorageDaemon | undefined;
  let client: NbdClient;
  const close = async (): Promise<void> => {
    await daemon?.[Symbol.asyncDispose]();
    await rm(directory, { recursive: true, force: true });
  };
  try {
    daemon = await StorageDaemon.start({
      directory,
      nodes: [
        {
          driver: format,
          'node-name': 'top',
          'read-only': true,
          'force-share': true,
          file: { driver: 'file', filename: path },
        },
      ],
      exports: [{ name: 'top', node: 'top', writable: false }],
      ...(build === undefined ? {} : { build }),
    });
    client = await daemon.connect('top');
  } catch (error) {
    await close();
    throw error;
  }
  return {
    size: client.info.size,
    read: (offset, length) => client.read(offset, length),
    [Symbol.asyncDispose]: async () => {
      await client[Symbol.asyncDispose]();
      await close();
    },
  };
}
