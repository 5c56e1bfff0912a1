import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, statSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, test } from 'vitest';
import { type ErrorCode, isFerryError } from '../base/index.ts';
import { chainRefusals, copyImage, foldOffline, probeChain, probeImage, rewriteBacking } from './index.ts';

const root = mkdtempSync(join(tmpdir(), 'image-hostile-'));
afterAll(() => rmSync(root, { recursive: true }));
const at = (name: string): string => join(root, name);
const owner = { uid: process.getuid?.() ?? 0, gid: process.getgid?.() ?? 0, mode: 0o600 };
const MiB = 2 ** 20;
/** The compact header of a feature that tells where the data is: docs/interop/qcow2.txt of QEMU. */
const DATA_FILE = 0x44_41_54_41;
const BITMAPS = 0x23_85_28_75;
const END = 0;

interface Forged {
  readonly version?: number;
  readonly clusterBits?: number;
  readonly size?: bigint;
  readonly backing?: string;
  /** Where the header says that the name is, and how long. Default: where it is. */
  readonly backingAt?: readonly [offset: bigint, length: number];
  readonly l1?: readonly [offset: bigint, entries: number];
  readonly refcounts?: readonly [offset: bigint, clusters: number];
  readonly snapshots?: readonly [offset: bigint, count: number];
  readonly incompatible?: bigint;
  readonly autoclear?: bigint;
  readonly headerLength?: number;
  readonly extensions?: readonly (readonly [type: number, data: Buffer, length?: number])[];
  /** Bytes of the file; what is not written reads as zeroes. */
  readonly fileSize?: number;
}

/** Writes a qcow2 header as an attacker would. */
function forge(name: string, forged: Forged): string {
  const { clusterBits = 16, extensions = [], backing = '' } = forged;
  const bytes = Buffer.alloc(65_536);
  bytes.writeUInt32BE(0x51_46_49_fb, 0);
  bytes.writeUInt32BE(forged.version ?? 3, 4);
  const [nameOffset, nameLength] = forged.backingAt ?? [backing === '' ? 0n : 4096n, Buffer.byteLength(backing)];
  bytes.writeBigUInt64BE(nameOffset, 8);
  bytes.writeUInt32BE(nameLength, 16);
  bytes.write(backing, 4096);
  bytes.writeUInt32BE(clusterBits, 20);
  bytes.writeBigUInt64BE(forged.size ?? BigInt(MiB), 24);
  const [l1Offset, l1Size] = forged.l1 ?? [0x3_0000n, 1];
  bytes.writeUInt32BE(l1Size, 36);
  bytes.writeBigUInt64BE(l1Offset, 40);
  const [refcountOffset, refcountClusters] = forged.refcounts ?? [0x1_0000n, 1];
  bytes.writeBigUInt64BE(refcountOffset, 48);
  bytes.writeUInt32BE(refcountClusters, 56);
  const [snapshotOffset, snapshotCount] = forged.snapshots ?? [0n, 0];
  bytes.writeUInt32BE(snapshotCount, 60);
  bytes.writeBigUInt64BE(snapshotOffset, 64);
  bytes.writeBigUInt64BE(forged.incompatible ?? 0n, 72);
  bytes.writeBigUInt64BE(forged.autoclear ?? 0n, 88);
  bytes.writeUInt32BE(4, 96);
  bytes.writeUInt32BE(forged.headerLength ?? 104, 100);
  let place = 104;
  for (const [type, data, length = data.length] of [...extensions, [END, Buffer.alloc(0)] as const]) {
    bytes.writeUInt32BE(type, place);
    bytes.writeUInt32BE(length, place + 4);
    data.copy(bytes, place + 8);
    place += 8 + Math.ceil(data.length / 8) * 8;
  }
  writeFileSync(at(name), bytes);
  truncateSync(at(name), forged.fileSize ?? 4 * MiB);
  return at(name);
}

/** `fine`, or the code of the error. Not what it is counts here, but that it comes, soon, and is one of ours. */
async function codeOf(work: Promise<unknown>): Promise<ErrorCode | 'fine'> {
  try {
    await work;
    return 'fine';
  } catch (error) {
    if (isFerryError(error)) return error.code;
    throw error;
  }
}

/** 24 bytes of the bitmaps extension: how many, the length of the directory, where it is. */
function bitmaps(count: number, length: bigint): Buffer {
  const data = Buffer.alloc(24);
  data.writeUInt32BE(count, 0);
  data.writeBigUInt64BE(length, 8);
  data.writeBigUInt64BE(0x10_0000n, 16);
  return data;
}

const TERA = 2 ** 40;
const FORGED: readonly (readonly [what: string, forged: Forged, code: ErrorCode | 'fine'])[] = [
  ['a sound header', {}, 'fine'],
  ['an L1 table of 2^32 entries', { l1: [0x3_0000n, 0xff_ff_ff_ff] }, 'IMAGE_BROKEN'],
  ['the largest L1 table that QEMU takes', { l1: [0x3_0000n, 0x40_0000], fileSize: 64 * MiB }, 'fine'],
  ['an L1 table far behind the end', { l1: [2n ** 55n, 1] }, 'fine'],
  ['a refcount table of 2^32 clusters', { refcounts: [0x1_0000n, 0xff_ff_ff_ff] }, 'IMAGE_BROKEN'],
  ['2^32 snapshots', { snapshots: [0x10_0000n, 0xff_ff_ff_ff] }, 'IMAGE_BROKEN'],
  // QEMU reads 65,536 of them, and takes 9 s of CPU time for it: within the limit.
  ['as many snapshots as are too many', { snapshots: [0x10_0000n, 65_537], fileSize: 128 * MiB }, 'IMAGE_BROKEN'],
  ['2^32 bitmaps', { autoclear: 1n, extensions: [[BITMAPS, bitmaps(0xff_ff_ff_ff, 2n ** 40n)]] }, 'IMAGE_BROKEN'],
  ['clusters of 2^255 bytes', { clusterBits: 255 }, 'IMAGE_BROKEN'],
  ['clusters of one byte', { clusterBits: 0 }, 'IMAGE_BROKEN'],
  ['a disk of 2^64 bytes', { size: 2n ** 64n - 1n }, 'IMAGE_BROKEN'],
  ['a header of 4 GiB', { headerLength: 0xff_ff_ff_ff }, 'IMAGE_BROKEN'],
  ['an extension of 4 GiB', { extensions: [[0x12_34_56_78, Buffer.alloc(8), 0xff_ff_ff_f0]] }, 'IMAGE_BROKEN'],
  ['a feature that nobody knows', { incompatible: 2n ** 63n }, 'IMAGE_BROKEN'],
  ['a backing name of 4 GiB', { backingAt: [4096n, 0xff_ff_ff_ff] }, 'IMAGE_BROKEN'],
  ['a backing name behind the end', { backingAt: [2n ** 62n, 16] }, 'IMAGE_BROKEN'],
  ['a sparse file of 8 TiB', { fileSize: 8 * TERA }, 'fine'],
];

describe('a header that lies', () => {
  test.each(FORGED)('%s', async (what, forged, code) => {
    const path = forge('forged', forged);
    const began = performance.now();
    expect(await codeOf(probeChain(path, { format: 'qcow2' }))).toBe(code);
    // It is refused or read at once: nothing of it is worth seconds. Some are left for a busy machine.
    expect(performance.now() - began, what).toBeLessThan(10_000);
    rmSync(path);
  });
});

describe('a name that leads out of the chain', () => {
  test.each(['/etc/shadow', '../../../../../../etc/shadow'])('data file %s: neither read nor written', async (name) => {
    const path = forge('data', { incompatible: 4n, extensions: [[DATA_FILE, Buffer.from(name)]] });
    const before = readFileSync(path);
    const info = await probeImage(path, { format: 'qcow2' });
    expect(chainRefusals([info]).map(({ code }) => code)).toEqual(['IMAGE_DATA_FILE']);
    expect(await codeOf(rewriteBacking(path, { name: 'x', format: 'raw' }))).toBe('IMAGE_DATA_FILE');
    expect(readFileSync(path).equals(before)).toBe(true);
  });

  test('a data file that would hang whoever opens it', async () => {
    execFileSync('mkfifo', [at('pipe')]);
    const path = forge('piped', { incompatible: 4n, extensions: [[DATA_FILE, Buffer.from(at('pipe'))]] });
    expect(await probeImage(path, { format: 'qcow2' })).toMatchObject({ dataFile: at('pipe') });
  });

  test.each([
    ['json:{"driver":"file","filename":"/etc/shadow"}', 'BACKING_PROTOCOL'],
    ['nbd://127.0.0.1:1/x', 'BACKING_PROTOCOL'],
    ['fat:rw:/etc', 'BACKING_PROTOCOL'],
    ['ssh://root@127.0.0.1/etc/shadow', 'BACKING_PROTOCOL'],
    ['/etc', 'IMAGE_KIND'],
    ['/dev/zero', 'IMAGE_KIND'],
    ['nowhere\0/etc/shadow', 'IMAGE_UNREADABLE'],
    ['x'.repeat(1023), 'IMAGE_UNREADABLE'],
  ] as const)('backing name %j', async (backing, code) => {
    const path = forge('named', { backing, extensions: [[0xe2_79_2a_ca, Buffer.from('raw')]] });
    expect(await codeOf(probeChain(path, { format: 'qcow2' }))).toBe(code);
  });

  test('a backing format that is a driver of another kind is not given to QEMU', async () => {
    for (const format of ['vvfat', 'nbd', 'host_device', 'vmdk', 'blkdebug']) {
      const path = forge('driver', { backing: '/etc/passwd', extensions: [[0xe2_79_2a_ca, Buffer.from(format)]] });
      const chain = await probeChain(path, { format: 'qcow2' });
      expect(chainRefusals(chain).map(({ code }) => code)).toEqual(['IMAGE_FORMAT_UNSUPPORTED']);
    }
  });

  test('what is not among the known images is not opened', async () => {
    const path = forge('led', { backing: '/etc/passwd', extensions: [[0xe2_79_2a_ca, Buffer.from('raw')]] });
    expect(await codeOf(probeChain(path, { format: 'qcow2', within: [path] }))).toBe('BACKING_ELSEWHERE');
    expect(await codeOf(probeChain(path, { format: 'qcow2', within: [path, '/etc/passwd'] }))).toBe('fine');
    expect(await codeOf(foldOffline(path, { within: [path] }))).toBe('BACKING_ELSEWHERE');
  });

  // Only a file system without device nodes shows the difference: there the mere opening is an error of its own.
  test.skipIf(process.getuid?.() !== 0)('a device that could act when it is opened is not (needs root)', async () => {
    execFileSync('mkdir', [at('nodev')]);
    execFileSync('mount', ['-t', 'tmpfs', '-o', 'nodev,size=64k', 'hostile', at('nodev')]);
    try {
      execFileSync('mknod', [at('nodev/watchdog'), 'c', '1', '3']);
      expect(await codeOf(probeImage(at('nodev/watchdog'), { format: 'raw' }))).toBe('IMAGE_KIND');
    } finally {
      execFileSync('umount', [at('nodev')]);
    }
  });
});

/** What a guest would have the host open: a backing image, and a file for its data. */
function disguise(name: string): string {
  const extensions = [[DATA_FILE, Buffer.from('/etc/shadow')]] as const;
  return forge(name, { backing: '/etc/shadow', incompatible: 4n, extensions });
}

describe('a raw disk into which the guest wrote a qcow2 header', () => {
  test('is a raw disk where its format is stated', async () => {
    const path = disguise('raw');
    const chain = await probeChain(path, { format: 'raw', formats: ['raw'] });
    expect(chain).toMatchObject([{ format: 'raw', formatStated: true, virtualSize: 4 * MiB }]);
    expect(chain[0]).not.toHaveProperty('backing');
    expect(chain[0]).not.toHaveProperty('dataFile');
    expect(chainRefusals(chain)).toEqual([]);
  });

  test('and refused where it is not', async () => {
    const chain = await probeChain(disguise('unstated'), { within: [at('unstated')] }).catch((error: unknown) => error);
    expect(isFerryError(chain, 'BACKING_ELSEWHERE')).toBe(true);
    const info = await probeImage(at('unstated'));
    expect(chainRefusals([info]).map(({ code }) => code)).toContain('IMAGE_FORMAT_UNSTATED');
  });

  test('is copied as it is', async () => {
    const path = disguise('copied');
    await copyImage({ source: { path }, target: at('copy'), owner });
    expect(readFileSync(at('copy')).equals(readFileSync(path))).toBe(true);
  });

  test('takes in an overlay as a raw disk', async () => {
    const path = disguise('below');
    const before = readFileSync(path);
    execFileSync('qemu-img', ['create', '-q', '-f', 'qcow2', '-F', 'raw', '-b', path, at('above')]);
    execFileSync('qemu-io', ['-f', 'qcow2', '-c', 'write -q -P 7 1M 64k', at('above')]);
    await foldOffline(at('above'), { within: [path] });
    const after = readFileSync(path);
    expect(statSync(path).size).toBe(4 * MiB);
    expect(after.subarray(0, MiB).equals(before.subarray(0, MiB))).toBe(true);
    expect(after.subarray(MiB, MiB + 65_536).every((byte) => byte === 7)).toBe(true);
  });
});
