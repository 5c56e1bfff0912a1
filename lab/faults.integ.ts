import { mkdtemp, rm, statfs, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { beforeAll, describe, expect, test } from 'vitest';
import { FaultyDisk, smallFilesystem, whyNoMount } from './faults.ts';
import { NbdClient } from './nbd-client.ts';
import { requirePrograms } from './requires.ts';

const MiB = 2 ** 20;
const noMount = await whyNoMount();
if (noMount !== undefined) console.warn(`SKIPPED, small file systems: ${noMount}`);

beforeAll(() => void requirePrograms('nbdkit'));

describe('a disk with faults', () => {
  test('keeps its data in the file', async () => {
    const directory = await mkdtemp(join(tmpdir(), 'faulty-'));
    try {
      const file = join(directory, 'a, b=c');
      await writeFile(file, Buffer.alloc(MiB, 3));
      await using disk = await FaultyDisk.start({ file });
      await using client = await NbdClient.connect(disk.socket);
      expect(client.info.size).toBe(MiB);
      expect((await client.read(4096, 512)).equals(Buffer.alloc(512, 3))).toBe(true);
    } finally {
      await rm(directory, { recursive: true });
    }
  });

  test('fails only reads when asked to', async () => {
    await using disk = await FaultyDisk.start({ size: MiB, error: 'EIO', failing: 'reads' });
    await using client = await NbdClient.connect(disk.socket);
    await disk.setError(true);
    await client.write(0, Buffer.alloc(512, 1));
    await expect(client.read(0, 512)).rejects.toMatchObject({ code: 'EIO' });
  });

  test('fails all', async () => {
    await using disk = await FaultyDisk.start({ size: MiB, error: 'EPERM', failing: 'all' });
    await using client = await NbdClient.connect(disk.socket);
    await disk.setError(true);
    await expect(client.write(0, Buffer.alloc(512, 1))).rejects.toMatchObject({ code: 'EPERM' });
    await expect(client.read(0, 512)).rejects.toMatchObject({ code: 'EPERM' });
  });

  test('is slow when asked to: the delay and the rate are lower bounds', async () => {
    await using slow = await FaultyDisk.start({ size: MiB, delayMs: 50 });
    await using client = await NbdClient.connect(slow.socket);
    const started = performance.now();
    await client.write(0, Buffer.alloc(512, 1));
    expect(performance.now() - started).toBeGreaterThanOrEqual(49);
    await using narrow = await FaultyDisk.start({ size: 8 * MiB, rate: 4 * MiB });
    await using other = await NbdClient.connect(narrow.socket);
    const before = performance.now();
    for (let at = 0; at < 2; at += 1) await other.write(at * MiB, Buffer.alloc(MiB, 1));
    expect(performance.now() - before).toBeGreaterThanOrEqual(350);
  });
});

describe.skipIf(noMount !== undefined)('a small file system', () => {
  test('is filled and has room again', async () => {
    await using small = await smallFilesystem({ size: 16 * MiB });
    const { bavail, bsize } = await statfs(small.path);
    expect(bavail * bsize).toBeLessThan(16 * MiB);
    await small.fill();
    await expect(writeFile(join(small.path, 'x'), Buffer.alloc(8192))).rejects.toMatchObject({ code: 'ENOSPC' });
    await small.makeRoom();
    await writeFile(join(small.path, 'x'), Buffer.alloc(MiB));
  });

  test('leaves no mount behind', async () => {
    let path: string;
    {
      await using small = await smallFilesystem({ size: 16 * MiB });
      path = small.path;
    }
    await expect(statfs(path)).rejects.toMatchObject({ code: 'ENOENT' });
  });
});
