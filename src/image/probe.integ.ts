import { execFileSync, spawn } from 'node:child_process';
import {
  chmodSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, test } from 'vitest';
import { makeEncryptedImage } from '../../lab/encrypted-image.ts';
import { type ErrorCode, isFerryError } from '../base/index.ts';
import { checkChain, createOverlay, probeChain, probeImage, relativeBackingName, rewriteBacking } from './index.ts';

const root = mkdtempSync(join(tmpdir(), 'image-probe-'));
afterAll(() => rmSync(root, { recursive: true }));
const at = (name: string): string => join(root, name);
const owner = { uid: process.getuid?.() ?? 0, gid: process.getgid?.() ?? 0, mode: 0o640 };

function img(...args: string[]): void {
  execFileSync('qemu-img', args, { stdio: 'pipe', cwd: root });
}

async function codeOf(work: Promise<unknown>): Promise<ErrorCode | undefined> {
  try {
    await work;
    return undefined;
  } catch (error) {
    if (isFerryError(error)) return error.code;
    throw error;
  }
}

const ODD_NAMES = [
  'plain',
  'with space',
  'comma,comma',
  'quote\'"quote',
  'a=b',
  '100%',
  'nbd:colon',
  'json:{"driver":"null-co"}',
  '-dash',
  'größe-磁盘-💾',
  'back\\slash',
  'line\nbreak',
  '$(id)`id`',
  '..dots',
];

describe('probeImage', () => {
  test('tells everything about a qcow2 image', async () => {
    img('create', '-f', 'qcow2', '-o', 'cluster_size=128k,extended_l2=on', 'q', '10M');
    img('bitmap', '--add', '-g', '32768', 'q', 'since-backup');
    img('snapshot', '-c', 'before', 'q');
    const info = await probeImage(at('q'), { format: 'qcow2' });
    const stat = statSync(at('q'));
    expect(info).toMatchObject({
      path: at('q'),
      format: 'qcow2',
      formatStated: true,
      blockDevice: false,
      virtualSize: 10 * 2 ** 20,
      fileSize: stat.size,
      allocated: stat.blocks * 512,
      clusterSize: 131_072,
      compat: '1.1',
      extendedL2: true,
      encrypted: false,
      bitmaps: [{ name: 'since-backup', granularity: 32_768, flags: ['auto'] }],
      snapshotCount: 1,
      corrupt: false,
      dirty: false,
      owner: { uid: stat.uid, gid: stat.gid, mode: stat.mode & 0o777 },
      ino: String(stat.ino),
      nlink: 1,
    });
    expect(info).not.toHaveProperty('backing');
  });

  test('guesses a format only where none is stated, and says so', async () => {
    img('create', '-f', 'qcow2', 'guess', '1M');
    expect(await probeImage(at('guess'))).toMatchObject({ format: 'qcow2', formatStated: false });
    expect(await probeImage(at('guess'), { format: 'raw' })).toMatchObject({ format: 'raw', formatStated: true });
    writeFileSync(at('bytes'), 'x'.repeat(1000));
    expect(await probeImage(at('bytes'))).toMatchObject({
      format: 'raw',
      formatStated: false,
      fileSize: 1000,
      virtualSize: 1024,
    });
  });

  test('refuses what is not there or not an image', async () => {
    execFileSync('mkfifo', [at('pipe')]);
    expect(await codeOf(probeImage(at('nothing-here')))).toBe('IMAGE_MISSING');
    expect(await codeOf(probeImage(join(at('bytes'), 'below-a-file')))).toBe('IMAGE_MISSING');
    expect(await codeOf(probeImage(root))).toBe('IMAGE_KIND');
    expect(await codeOf(probeImage(at('pipe')))).toBe('IMAGE_KIND');
    expect(await codeOf(probeImage('/dev/zero'))).toBe('IMAGE_KIND');
  });

  test('refuses what is not the stated format, and a damaged header', async () => {
    writeFileSync(at('text'), 'hello'.repeat(1000));
    expect(await codeOf(probeImage(at('text'), { format: 'qcow2' }))).toBe('IMAGE_BROKEN');
    img('create', '-f', 'qcow2', 'cut', '10M');
    truncateSync(at('cut'), 80);
    expect(await codeOf(probeImage(at('cut'), { format: 'qcow2' }))).toBe('IMAGE_BROKEN');
  });

  test.skipIf(process.getuid?.() === 0)('says when it may not read (not checked as root, who may)', async () => {
    writeFileSync(at('secret'), '');
    chmodSync(at('secret'), 0);
    expect(await codeOf(probeImage(at('secret')))).toBe('IMAGE_UNREADABLE');
  });

  test('never opens the external data file that a header names', async () => {
    img('create', '-f', 'qcow2', '-o', 'data_file=outside,data_file_raw=off', 'external', '1M');
    rmSync(at('outside'));
    const info = await probeImage(at('external'), { format: 'qcow2' });
    expect(info).toMatchObject({ dataFile: 'outside', virtualSize: 2 ** 20 });
    expect(() => checkChain([info])).toThrow('external file');
  });

  test('a writer is reported, and passed over on request', async () => {
    img('create', '-f', 'qcow2', 'held', '1M');
    const holder = spawn('qemu-io', ['-f', 'qcow2', at('held')], { stdio: ['pipe', 'pipe', 'inherit'] });
    const ended = new Promise((resolve) => void holder.once('close', resolve));
    try {
      // It answers once it has opened the image.
      holder.stdin.write('length\n');
      await new Promise((resolve) => void holder.stdout.once('data', resolve));
      expect(await codeOf(probeImage(at('held'), { format: 'qcow2' }))).toBe('IMAGE_IN_USE');
      expect(await probeImage(at('held'), { format: 'qcow2', shared: true })).toMatchObject({ virtualSize: 2 ** 20 });
    } finally {
      holder.stdin.end('quit\n');
      await ended;
    }
  });
});

describe('probeChain', () => {
  test('follows symbolic links as QEMU does: names are relative to the path as named', async () => {
    mkdirSync(at('real'));
    mkdirSync(at('links'));
    img('create', '-f', 'raw', 'real/base', '1M');
    img('create', '-f', 'raw', 'links/base', '1M');
    img('create', '-f', 'qcow2', '-b', 'base', '-F', 'raw', 'real/top');
    symlinkSync('../real/top', at('links/top'));
    const [top, base] = await probeChain(at('links/top'), { format: 'qcow2' });
    expect(top).toMatchObject({ path: at('links/top'), realPath: at('real/top') });
    expect(base).toMatchObject({ path: at('links/base'), format: 'raw', formatStated: true });
  });

  test.each(ODD_NAMES)('walks, makes and rewrites a chain whose names hold %j', async (name) => {
    const dir = at(`dir-${name}`);
    mkdirSync(dir);
    const base = join(dir, name);
    const top = join(dir, `${name}.top`);
    img('create', '-f', 'raw', base, '3M');
    const backing = { name: relativeBackingName(top, base), format: 'raw' };
    await createOverlay({ path: top, virtualSize: 3 * 2 ** 20, backing, owner });
    const chain = await probeChain(top, { format: 'qcow2' });
    expect(chain).toMatchObject([
      {
        path: top,
        backing: { written: backing.name, path: base, format: 'raw' },
        extendedL2: true,
        clusterSize: 131_072,
      },
      { path: base, format: 'raw', formatStated: true, virtualSize: 3 * 2 ** 20 },
    ]);
    checkChain(chain);
    // QEMU itself finds the backing image by the name that was stored.
    img('compare', '-f', 'qcow2', '-F', 'raw', top, base);
    await rewriteBacking(top, { name: base, format: 'raw' });
    expect((await probeImage(top)).backing).toEqual({ written: base, path: base, format: 'raw' });
    img('compare', '-f', 'qcow2', '-F', 'raw', top, base);
    await rewriteBacking(top, undefined);
    expect(await probeImage(top)).not.toHaveProperty('backing');
  });

  test('refuses a loop, and an image that is its own backing image', async () => {
    img('create', '-f', 'qcow2', '-u', '-b', 'loop2', '-F', 'qcow2', 'loop1', '1M');
    img('create', '-f', 'qcow2', '-u', '-b', 'loop1', '-F', 'qcow2', 'loop2', '1M');
    expect(await codeOf(probeChain(at('loop1'), { format: 'qcow2' }))).toBe('BACKING_LOOP');
    img('create', '-f', 'qcow2', '-u', '-b', './self', '-F', 'qcow2', 'self', '1M');
    expect(await codeOf(probeChain(at('self'), { format: 'qcow2' }))).toBe('BACKING_LOOP');
  });

  test.each(['json:{"driver":"null-co"}', 'nbd:localhost:1', 'https://127.0.0.1:9/x', 'file:base'])(
    'does not follow %s',
    async (name) => {
      img('create', '-f', 'qcow2', '-u', '-b', name, '-F', 'raw', 'proto', '1M');
      expect(await codeOf(probeChain(at('proto'), { format: 'qcow2' }))).toBe('BACKING_PROTOCOL');
    },
  );

  test('names the missing backing image', async () => {
    img('create', '-f', 'qcow2', '-u', '-b', 'gone', '-F', 'raw', 'orphan', '1M');
    await expect(probeChain(at('orphan'), { format: 'qcow2' })).rejects.toMatchObject({
      code: 'IMAGE_MISSING',
      fields: { path: at('gone') },
    });
  });

  test('refuses a chain that is too deep', async () => {
    mkdirSync(at('deep'));
    img('create', '-f', 'qcow2', 'deep/0', '1M');
    for (let n = 1; n <= 200; n += 1) {
      img('create', '-q', '-f', 'qcow2', '-u', '-b', String(n - 1), '-F', 'qcow2', `deep/${n}`, '1M');
    }
    expect(await probeChain(at('deep/199'), { format: 'qcow2' })).toHaveLength(200);
    expect(await codeOf(probeChain(at('deep/200'), { format: 'qcow2' }))).toBe('BACKING_TOO_DEEP');
  });

  test('refuses an image that QEMU marked corrupt', async () => {
    img('create', '-f', 'qcow2', 'marked', '1M');
    const bytes = readFileSync(at('marked'));
    // The lowest byte of the incompatible features, bit 1.
    bytes.writeUInt8(2, 79);
    writeFileSync(at('marked'), bytes);
    const chain = await probeChain(at('marked'), { format: 'qcow2' });
    expect(await codeOf(Promise.try(() => checkChain(chain)))).toBe('IMAGE_CORRUPT');
  });

  test('a raw base whose format nobody states cannot be moved, unless the VM states it', async () => {
    img('create', '-f', 'raw', 'unstated', '1M');
    img('create', '-f', 'qcow2', '-u', '-b', 'unstated', '-F', 'raw', 'over-unstated', '1M');
    const path = at('over-unstated');
    // qemu-img insists on a format today; images that older ones made have none. Rename the header extension.
    const bytes = readFileSync(path);
    bytes.writeUInt32BE(0x12_34_56_78, bytes.indexOf(Buffer.from('e2792aca', 'hex')));
    writeFileSync(path, bytes);
    const chain = await probeChain(path, { format: 'qcow2' });
    expect(await codeOf(Promise.try(() => checkChain(chain)))).toBe('IMAGE_FORMAT_UNSTATED');
    checkChain(await probeChain(path, { formats: ['qcow2', 'raw'] }));
  });

  test.each([
    ['IMAGE_FORMAT_UNSUPPORTED', ['create', '-f', 'vmdk', 'bad', '1M']],
    ['IMAGE_FORMAT_UNSUPPORTED', ['create', '-f', 'vdi', 'bad', '1M']],
  ] as const)('refuses with %s', async (code, args) => {
    img(...args);
    const chain = await probeChain(at('bad'));
    expect(await codeOf(Promise.try(() => checkChain(chain)))).toBe(code);
    rmSync(at('bad'));
  });

  test('refuses an encrypted image', async () => {
    await makeEncryptedImage(at('bad'), 'abc');
    const chain = await probeChain(at('bad'), { format: 'qcow2' });
    expect(await codeOf(Promise.try(() => checkChain(chain)))).toBe('IMAGE_ENCRYPTED');
    rmSync(at('bad'));
  });
});

describe('createOverlay', () => {
  test('never overwrites, and leaves nothing behind when it fails', async () => {
    const backing = { name: 'base', format: 'raw' };
    writeFileSync(at('mine'), 'keep me');
    expect(await codeOf(createOverlay({ path: at('mine'), virtualSize: 1024, backing, owner }))).toBe('TARGET_EXISTS');
    expect(statSync(at('mine')).size).toBe(7);
    expect(await codeOf(createOverlay({ path: at('no/such'), virtualSize: 1024, backing, owner }))).toBe(
      'TARGET_REFUSED',
    );
    const endless = { path: at('fails'), virtualSize: 2 ** 53 * 1024, backing, owner };
    expect(await codeOf(createOverlay(endless))).toBe('TOOL_FAILED');
    expect(() => statSync(at('fails'))).toThrow('ENOENT');
  });

  test('keeps owner, group and mode, and lets the owner write', async () => {
    const backing = { name: 'base', format: 'raw' };
    const given = { ...owner, ...(process.getuid?.() === 0 && { uid: 64_055, gid: 993 }), mode: 0o444 };
    await createOverlay({ path: at('owned'), virtualSize: 1536, backing, owner: given });
    expect(await probeImage(at('owned'))).toMatchObject({ owner: { ...given, mode: 0o644 }, virtualSize: 1536 });
  });

  test.skipIf(process.getuid?.() === 0)('says when it cannot give the file away (root can)', async () => {
    const backing = { name: 'base', format: 'raw' };
    const foreign = { path: at('foreign'), virtualSize: 1024, backing, owner: { ...owner, uid: 0 } };
    expect(await codeOf(createOverlay(foreign))).toBe('IMAGE_OWNER');
    expect(() => statSync(at('foreign'))).toThrow('ENOENT');
  });
});
