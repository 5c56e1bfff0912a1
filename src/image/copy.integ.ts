import { execFileSync, spawn, spawnSync } from 'node:child_process';
import {
  appendFileSync,
  closeSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  truncateSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, describe, expect, test } from 'vitest';
import { type CopyProgress, copyImage, copyImages, type CopyRequest } from './index.ts';
import { children, noise } from './testing/slow-work.ts';

const root = mkdtempSync(join(tmpdir(), 'image-copy-'));
afterAll(() => rmSync(root, { recursive: true }));
const at = (name: string): string => join(root, name);
const owner = { uid: process.getuid?.() ?? 0, gid: process.getgid?.() ?? 0, mode: 0o640 };
const MiB = 2 ** 20;

function request(source: string, target: string, more: Partial<CopyRequest> = {}): CopyRequest {
  return { source: { path: source }, target, owner, ...more };
}

function expectNoLitter(): void {
  expect(readdirSync(root).filter((name) => name.endsWith('-copy'))).toEqual([]);
}

afterEach(() => {
  const left = children(process.pid, 'qemu-storage-daemon');
  if (left.length > 0) throw new Error(`still running: ${left.join(' ')}`);
});

async function whileHeld(flags: readonly string[], work: () => Promise<void>): Promise<void> {
  const holder = spawn('qemu-io', [...flags, '-f', 'raw', at('held')], { stdio: ['pipe', 'pipe', 'inherit'] });
  const ended = new Promise((resolve) => void holder.once('close', resolve));
  try {
    // It answers once it has opened the image.
    holder.stdin.write('length\n');
    await new Promise((resolve) => void holder.stdout.once('data', resolve));
    await work();
  } finally {
    holder.stdin.end('quit\n');
    await ended;
  }
}

describe('copyImages', () => {
  test.each([0, 1, 511, 512, 513, 4095, 65_537, 3 * MiB + 7])('keeps a length of %d bytes exactly', async (length) => {
    writeFileSync(at('odd'), noise(length));
    const result = await copyImage(request(at('odd'), at(`odd-${length}`)));
    expect(readFileSync(at(`odd-${length}`)).equals(noise(length))).toBe(true);
    expect(statSync(at(`odd-${length}`)).mode & 0o777).toBe(0o640);
    expect(result).toMatchObject({ source: at('odd'), target: at(`odd-${length}`) });
  });

  test('copies several qcow2 and raw images side by side, with snapshots and bitmaps, and keeps their holes', async () => {
    execFileSync('qemu-img', ['create', '-q', '-f', 'qcow2', at('q'), '64M']);
    execFileSync('qemu-io', ['-f', 'qcow2', '-c', 'write -P 7 1M 3M', at('q')]);
    execFileSync('qemu-img', ['snapshot', '-c', 'snap', at('q')]);
    execFileSync('qemu-img', ['bitmap', '--add', at('q'), 'bitmap']);
    writeFileSync(at('r'), noise(MiB));
    truncateSync(at('r'), 300 * MiB);
    appendFileSync(at('r'), 'end');
    const seen: CopyProgress[] = [];
    const results = await copyImages(
      [request(at('q'), at('q2')), request(at('r'), at('r2')), request(at('odd'), at('odd2'))],
      { onProgress: (progress) => void seen.push(progress), concurrency: 2 },
    );
    for (const { source, target } of results) {
      execFileSync('cmp', [source, target]);
      expect(statSync(target).blocks * 512).toBeLessThanOrEqual(statSync(source).blocks * 512 + 64 * 1024);
    }
    expect(results.map(({ source }) => source)).toEqual([at('q'), at('r'), at('odd')]);
    // Nothing is reported of a copy that the file system made by sharing blocks.
    const mirrored = results.filter(({ method }) => method === 'mirror');
    for (const { source, target, copied } of mirrored) {
      expect(seen.findLast((progress) => progress.source === source)).toEqual({
        source,
        target,
        copied,
        total: copied,
      });
    }
  });

  test('keeps data that is scattered among holes as sparse as it is', async () => {
    const file = openSync(at('scattered'), 'w');
    for (let n = 0; n < 64; n += 1) writeSync(file, noise(4096), 0, 4096, n * MiB + 12_288);
    closeSync(file);
    await copyImage(request(at('scattered'), at('scattered2')));
    execFileSync('cmp', [at('scattered'), at('scattered2')]);
    const slack = 16 * 4096;
    expect(statSync(at('scattered2')).blocks * 512).toBeLessThanOrEqual(statSync(at('scattered')).blocks * 512 + slack);
  });

  test.each(['with space', 'a,b=c', 'quote\'"quote', 'nbd:colon', '-dash', '100%', 'größe-磁盘-💾', 'line\nbreak'])(
    'copies a file named %j',
    async (name) => {
      mkdirSync(at(`to ${name}`), { recursive: true });
      writeFileSync(at(name), noise(70_000));
      await copyImage(request(at(name), join(at(`to ${name}`), name)));
      execFileSync('cmp', ['--', at(name), join(at(`to ${name}`), name)]);
    },
  );

  test('copies to a file system without O_DIRECT', async (context) => {
    context.skip(!existsSync('/dev/shm'), 'there is no /dev/shm');
    const shm = mkdtempSync('/dev/shm/image-copy-');
    try {
      await copyImage(request(at('r'), join(shm, 'r')));
      execFileSync('cmp', [at('r'), join(shm, 'r')]);
    } finally {
      rmSync(shm, { recursive: true });
    }
  });

  test('shares blocks where the file system can', async (context) => {
    const missing = spawnSync('mkfs.xfs', ['-V']).error;
    context.skip(process.getuid?.() !== 0 || missing !== undefined, 'needs root and mkfs.xfs (package xfsprogs)');
    const mount = at('xfs');
    mkdirSync(mount);
    writeFileSync(at('xfs.img'), '');
    truncateSync(at('xfs.img'), 400 * MiB);
    execFileSync('mkfs.xfs', ['-q', '-m', 'reflink=1', at('xfs.img')]);
    const mounted = spawnSync('mount', ['-o', 'loop', at('xfs.img'), mount], { encoding: 'utf8' });
    context.skip(mounted.status !== 0, `needs a loop device and XFS: ${mounted.stderr}`);
    try {
      writeFileSync(join(mount, 'a'), noise(30 * MiB + 5));
      const result = await copyImage(request(join(mount, 'a'), join(mount, 'b')));
      expect(result).toMatchObject({ method: 'reflink', copied: 0 });
      expect(statSync(join(mount, 'b')).mode & 0o777).toBe(0o640);
      execFileSync('cmp', [join(mount, 'a'), join(mount, 'b')]);
    } finally {
      execFileSync('umount', [mount]);
    }
  });

  test('never overwrites, unless the file is said to be ours, and never its own source', async () => {
    writeFileSync(at('taken'), 'keep me');
    await expect(copyImage(request(at('odd'), at('taken')))).rejects.toMatchObject({ code: 'TARGET_EXISTS' });
    expect(readFileSync(at('taken'), 'utf8')).toBe('keep me');
    const itself = request(at('odd'), join(root, '.', 'odd'), { replace: true });
    await expect(copyImage(itself)).rejects.toMatchObject({ code: 'TARGET_EXISTS' });
    await copyImage(request(at('odd'), at('taken'), { replace: true }));
    execFileSync('cmp', [at('odd'), at('taken')]);
    await expect(copyImage(request(at('odd'), at('no/folder')))).rejects.toMatchObject({ code: 'TARGET_REFUSED' });
  });

  test('copies an image that a VM reads, and refuses one that a VM writes', async () => {
    writeFileSync(at('held'), noise(MiB));
    await whileHeld([], async () => {
      await expect(copyImage(request(at('held'), at('held-copy')))).rejects.toMatchObject({ code: 'IMAGE_IN_USE' });
    });
    expectNoLitter();
    await whileHeld(['-r'], async () => {
      await copyImage(request(at('held'), at('held-2')));
    });
    execFileSync('cmp', [at('held'), at('held-2')]);
  });
});
