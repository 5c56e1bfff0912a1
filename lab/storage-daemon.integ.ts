import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { run, tools } from '../src/base/index.ts';
import { checkWrites } from './acknowledged-writes.ts';
import { openChain } from './chain-reader.ts';
import { FaultyDisk } from './faults.ts';
import { NbdClient } from './nbd-client.ts';
import { RecordingWriter } from './recording-writer.ts';
import { requirePrograms } from './requires.ts';
import { StorageDaemon } from './storage-daemon.ts';

const MiB = 2 ** 20;
let directory: string;

beforeEach(async () => {
  requirePrograms('nbdinfo', 'nbdcopy', 'nbdkit');
  directory = await mkdtemp(join(tmpdir(), 'qsd-'));
});
afterEach(() => rm(directory, { recursive: true, force: true }));

/** A daemon with one qcow2 disk on a raw base that is full of 0xab. */
async function startDisk(size: number): Promise<StorageDaemon> {
  const base = join(directory, 'base');
  const overlay = join(directory, 'overlay');
  await writeFile(base, Buffer.alloc(size, 0xab));
  await run(tools.qemuImg(), ['create', '-q', '-f', 'qcow2', '-b', base, '-F', 'raw', overlay]);
  return StorageDaemon.start({
    directory,
    nodes: [{ driver: 'qcow2', 'node-name': 'disk', file: { driver: 'file', filename: overlay }, discard: 'unmap' }],
    exports: [{ name: 'a', node: 'disk' }],
  });
}

const before = (_offset: number, length: number): Promise<Buffer> => Promise.resolve(Buffer.alloc(length, 0xab));

describe('the NBD client', () => {
  test('says of an export what nbdinfo says', async () => {
    await using daemon = await startDisk(MiB);
    await using client = await daemon.connect('a');
    const uri = `nbd+unix:///a?socket=${daemon.nbdSocket}`;
    const { stdout } = await run('nbdinfo', ['--json', uri]);
    const [told] = (JSON.parse(stdout) as { exports: Record<string, unknown>[] }).exports;
    expect(client.info).toEqual({
      size: told?.['export-size'],
      readOnly: told?.['is_read_only'],
      canFlush: told?.['can_flush'],
      canFua: told?.['can_fua'],
      canTrim: told?.['can_trim'],
      canWriteZeroes: told?.['can_zero'],
      // nbdinfo of Debian 12 does not tell these; QEMU's own are known.
      minimumBlock: 1,
      maximumBlock: 32 * MiB,
    });
  });

  test('writes what nbdcopy reads, with many requests in flight', async () => {
    await using daemon = await startDisk(MiB);
    await using client = await daemon.connect('a');
    const wanted = Buffer.alloc(MiB, 0xab);
    const writes: Promise<void>[] = [];
    for (let at = 0; at < MiB; at += 8192) {
      const block = Buffer.alloc(4096, 1 + ((at / 8192) % 250));
      block.copy(wanted, at);
      writes.push(client.write(at, block, { fua: at % 3 === 0 }));
    }
    await Promise.all(writes);
    await client.writeZeroes(512, 1024, { fua: true, noHole: true });
    wanted.fill(0, 512, 1536);
    await client.writeZeroes(65536, 65536);
    wanted.fill(0, 65536, 131072);
    await client.flush();
    const copy = join(directory, 'copy');
    await run('nbdcopy', [`nbd+unix:///a?socket=${daemon.nbdSocket}`, copy]);
    await using raw = await openChain(copy, 'raw');
    expect((await raw.read(0, MiB)).equals(wanted)).toBe(true);
    expect((await client.read(0, MiB)).equals(wanted)).toBe(true);
  });

  test('trims', async () => {
    await using daemon = await startDisk(MiB);
    await using client = await daemon.connect('a');
    await client.write(0, Buffer.alloc(65536, 1));
    await client.trim(0, 65536, { fua: true });
    expect((await client.read(0, 65536)).equals(Buffer.alloc(65536))).toBe(true);
  });

  test('names an export that is not there, and a socket that is not there', async () => {
    await using daemon = await startDisk(MiB);
    await expect(daemon.connect('b')).rejects.toMatchObject({ code: 'ENOENT' });
    await expect(NbdClient.connect(join(directory, 'none'))).rejects.toMatchObject({ code: 'ECONNRESET' });
  });

  test.each(['EIO', 'ENOSPC'] as const)('tells %s by name, and goes on afterwards', async (error) => {
    await using disk = await FaultyDisk.start({ size: MiB, error });
    await using client = await NbdClient.connect(disk.socket);
    await client.write(0, Buffer.alloc(512, 1));
    await disk.setError(true);
    const requests = [client.write(512, Buffer.alloc(512, 2)), client.writeZeroes(0, 512), client.trim(0, 512)];
    for (const { status } of await Promise.allSettled(requests)) expect(status).toBe('rejected');
    await expect(client.write(512, Buffer.alloc(512, 2))).rejects.toMatchObject({ code: error });
    expect((await client.read(0, 512)).equals(Buffer.alloc(512, 1))).toBe(true);
    await disk.setError(false);
    await client.write(512, Buffer.alloc(512, 2));
  });

  test('rejects what is in flight when the server dies', async () => {
    await using disk = await FaultyDisk.start({ size: MiB });
    await using client = await NbdClient.connect(disk.socket);
    await disk.pause();
    const writes = [0, 4096].map((at) => client.write(at, Buffer.alloc(4096)));
    const outcome = Promise.allSettled(writes);
    await disk.kill();
    for (const result of await outcome) expect(result).toMatchObject({ reason: { code: 'ECONNRESET' } });
    await expect(client.flush()).rejects.toMatchObject({ code: 'ECONNRESET' });
  });

  test('waits for a storage that hangs, and goes on with it', async () => {
    await using disk = await FaultyDisk.start({ size: MiB });
    await using client = await NbdClient.connect(disk.socket);
    await disk.pause();
    let done = false;
    const write = client.write(0, Buffer.alloc(512, 1)).then(() => (done = true));
    await using other = await NbdClient.connect(disk.socket);
    // The second connection was served after the write had been sent.
    expect(done).toBe(false);
    await disk.resume();
    await write;
    expect((await other.read(0, 512)).equals(Buffer.alloc(512, 1))).toBe(true);
  });
});

describe('the recording writer and the check', () => {
  const pattern = { disk: 'a', seed: 11, region: { offset: 4096, length: 2 * MiB }, zeroEvery: 7, discardEvery: 11 };

  test.each([512, 4096])('agree on a disk that was written in blocks of %i and read back', async (blockSize) => {
    await using daemon = await startDisk(4 * MiB);
    await using client = await daemon.connect('a');
    await using writer = RecordingWriter.start(client, { ...pattern, blockSize, depth: 8 });
    await writer.more(500);
    const record = await writer.stop();
    expect(record.acknowledged).toBe(record.begun);
    const read = (offset: number, length: number): Promise<Buffer> => client.read(offset, length);
    expect(await checkWrites(record, read, { before })).toMatchObject({ lostCount: 0, damagedCount: 0 });
    // The check has teeth: without the last write to a block it finds it lost.
    await client.write(pattern.region.offset, Buffer.alloc(blockSize, 0x55));
    const { lostCount, damagedCount } = await checkWrites(record, read, { before });
    expect(lostCount + damagedCount).toBe(1);
  });

  test('find every acknowledged write after kill -9 in the middle of writing', async () => {
    const daemon = await startDisk(4 * MiB);
    await using client = await daemon.connect('a');
    await using writer = RecordingWriter.start(client, { ...pattern, discardEvery: 0, blockSize: 4096, depth: 8 });
    await writer.more(300);
    await daemon.kill();
    await expect(writer.more(1)).rejects.toMatchObject({ code: 'ECONNRESET' });
    const record = await writer.stop();
    expect(writer.failure).toMatchObject({ code: 'ECONNRESET' });
    expect(record.acknowledged).toBeGreaterThanOrEqual(300);
    await using chain = await openChain(join(directory, 'overlay'), 'qcow2');
    expect(chain.size).toBe(4 * MiB);
    const read = (offset: number, length: number): Promise<Buffer> => chain.read(offset, length);
    expect(await checkWrites(record, read, { before })).toMatchObject({ lostCount: 0, damagedCount: 0, lost: [] });
    // The base alone has none of them.
    await using base = await openChain(join(directory, 'base'), 'raw');
    const without = await checkWrites(record, (offset, length) => base.read(offset, length), { before });
    expect(without.lostCount).toBe(without.writtenBlocks);
  });

  test('are read through the chain while a daemon holds it', async () => {
    await using daemon = await startDisk(4 * MiB);
    await using client = await daemon.connect('a');
    await using writer = RecordingWriter.start(client, { ...pattern, blockSize: 4096 });
    await writer.more(100);
    const record = await writer.stop();
    await client.flush();
    await using chain = await openChain(join(directory, 'overlay'), 'qcow2');
    const read = (offset: number, length: number): Promise<Buffer> => chain.read(offset, length);
    expect(await checkWrites(record, read, { before })).toMatchObject({ lostCount: 0, damagedCount: 0 });
  });

  test('keep to a rate, pause, and hang with a stopped daemon until it goes on', async () => {
    await using daemon = await startDisk(4 * MiB);
    await using client = await daemon.connect('a');
    const started = performance.now();
    await using writer = RecordingWriter.start(client, { ...pattern, blockSize: 4096, rate: 500 });
    await writer.more(100);
    expect(performance.now() - started).toBeGreaterThanOrEqual(195);
    await writer.pause();
    const { acknowledged, begun } = writer.record();
    expect(begun).toBe(acknowledged);
    await client.flush();
    expect(writer.record()).toMatchObject({ acknowledged, begun });
    writer.resume();
    daemon.stop();
    const more = writer.more(50);
    daemon.cont();
    await more;
  });
});

test('a daemon that cannot start says why', async () => {
  const nodes = [{ driver: 'file', filename: join(directory, 'none'), 'node-name': 'f' }];
  await expect(StorageDaemon.start({ directory, nodes })).rejects.toThrow('No such file or directory');
});
