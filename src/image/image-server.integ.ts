import { access, mkdtemp, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { hangingFilesystem, NbdClient, whyNoHang } from '../../lab/index.ts';
import { cutImageServer, endImageServer, imageSocket, serveImages } from './image-server.ts';

const MiB = 2 ** 20;
const uid = process.getuid?.() ?? 0;
const noHang = await whyNoHang();
if (noHang !== undefined) console.warn(`not tested: a storage that hangs (${noHang})`);

/** A folder of that is made by the server, and a file of one MiB. */
async function scene(file: string): Promise<{ folder: string; path: string } & AsyncDisposable> {
  const base = await mkdtemp(join(tmpdir(), 'served,'));
  const path = join(file || base, 'a,b');
  await writeFile(path, Buffer.alloc(MiB, 1));
  const folder = join(base, 'server');
  return {
    folder,
    path,
    [Symbol.asyncDispose]: async () => {
      await endImageServer(folder);
      await rm(base, { recursive: true });
    },
  };
}

test('serves files as long as they are told to be, and is gone when it is ended', async () => {
  await using made = await scene('');
  const { folder, path } = made;
  await serveImages(folder, [{ path, name: 'image0', direct: false, length: 4 * MiB }], uid);
  {
    await using client = await NbdClient.connect(imageSocket(folder), 'image0');
    expect(client.info.size).toBe(4 * MiB);
    await client.write(2 * MiB, Buffer.alloc(4096, 7));
    expect((await client.read(0, 4096)).equals(Buffer.alloc(4096, 1))).toBe(true);
  }
  expect((await stat(imageSocket(folder))).mode & 0o777).toBe(0o600);
  await endImageServer(folder);
  await expect(access(folder)).rejects.toMatchObject({ code: 'ENOENT' });
  await expect(NbdClient.connect(imageSocket(folder), 'image0')).rejects.toBeInstanceOf(Error);
  // Where there is none, nothing happens.
  await cutImageServer(folder);
  await endImageServer(folder);
});

test.skipIf(noHang)('whoever waits for a storage that hangs has an error when it is cut off', async () => {
  await using storage = await hangingFilesystem({ size: 16 * MiB });
  await using made = await scene(storage.path);
  const { folder, path } = made;
  await serveImages(folder, [{ path, name: 'image0', direct: true, length: 4 * MiB }], uid);
  await using client = await NbdClient.connect(imageSocket(folder), 'image0');
  await client.write(0, Buffer.alloc(4096, 7));
  await storage.hang();
  const write = client.write(MiB, Buffer.alloc(4096, 7)).then(
    () => 'written',
    () => 'failed',
  );
  await cutImageServer(folder);
  expect(await write).toBe('failed');
  await storage.answer();
});
