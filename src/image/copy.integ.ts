import { execFileSync, spawn, spawnSync } from 'node:child_process';
import {
  appendFileSync,
  chmodSync,
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
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, afterEach, describe, expect, test } from 'vitest';
import { CopyControl, type CopyProgress, copyImage, copyImages, type CopyRequest } from './index.ts';

const root = mkdtempSync(join(tmpdir(), 'image-copy-'));
afterAll(() => rmSync(root, { recursive: true }));
const at = (name: string): string => join(root, name);
const owner = { uid: process.getuid?.() ?? 0, gid: process.getgid?.() ?? 0, mode: 0o640 };
const MiB = 2 ** 20;

/** Bytes that differ from one 512-byte sector to the next. */
function noise(length: number): Buffer {
  const bytes = Buffer.alloc(length);
  for (let n = 0; n + 4 <= length; n += 4) bytes.writeUInt32LE((n * 2_654_435_761) % 4_294_967_291, n);
  return bytes;
}

function request(source: string, target: string, more: Partial<CopyRequest> = {}): CopyRequest {
  return { source: { path: source }, target, owner, ...more };
}

/** Processes that this one, or that one, started and that still run. */
function children(of: number, name: string): number[] {
  const found = execFileSync('ps', ['-e', '-o', 'pid=,ppid=,comm='], { encoding: 'utf8' });
  return found.split('\n').flatMap((line) => {
    const [pid, ppid, comm = ''] = line.trim().split(/\s+/);
    return Number(ppid) === of && name.startsWith(comm) && comm ? [Number(pid)] : [];
  });
}

/** Waits until something is seen while the work goes on; fails when the work ends without it. */
async function until<T>(look: () => T | undefined | false, work?: Promise<unknown>): Promise<T> {
  let ended = false;
  const end = work?.finally(() => {
    ended = true;
  });
  end?.catch(() => undefined);
  while (true) {
    const seen = look();
    if (seen) return seen;
    if (ended) throw new Error('it ended too early', { cause: await end });
    await sleep(20);
  }
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

/** A file whose copy at 64 KiB/s would take more than ten minutes: whatever ends sooner was told to. */
function slowSource(name: string): string {
  writeFileSync(at(name), noise(48 * MiB));
  return at(name);
}

const SLOW = 64 * 1024;
/** How often a job is asked while nothing may change. */
const LOOKS = 6;

async function slowCopy(signal?: AbortSignal): Promise<{ copy: Promise<unknown>; daemon: number }> {
  const control = new CopyControl({ speed: SLOW });
  const started = Promise.withResolvers<void>();
  const requests = [request(at('odd'), at('small-copy')), request(slowSource('slow'), at('slow-copy'))];
  const onProgress = ({ source, copied }: CopyProgress): void => {
    if (source === at('slow') && copied > 0) started.resolve();
  };
  const copy = copyImages(requests, { control, onProgress, ...(signal && { signal }) });
  copy.catch(() => undefined);
  await Promise.race([started.promise, copy]);
  const [daemon] = children(process.pid, 'qemu-storage-daemon');
  if (daemon === undefined) throw new Error('no daemon');
  return { copy, daemon };
}

describe('a copy that is under way', () => {
  test('obeys a pause and a new speed', async () => {
    const control = new CopyControl({ speed: SLOW });
    const seen: CopyProgress[] = [];
    const options = { control, onProgress: (progress: CopyProgress) => void seen.push(progress) };
    const copy = copyImage(request(slowSource('big'), at('big2')), options);
    await until(() => (seen.at(-1)?.copied ?? 0) > 0, copy);
    control.pause();
    control.setSpeed(0);
    // The request in flight may still land.
    const steady = await until(() => {
      const tail = seen.slice(-LOOKS);
      return tail.length === LOOKS && tail.every(({ copied }) => copied === tail[0]?.copied) && tail[0];
    }, copy);
    expect(steady.copied).toBeLessThan(48 * MiB);
    const looks = seen.length;
    await until(() => seen.length >= looks + LOOKS, copy);
    expect(seen.at(-1)?.copied).toBe(steady.copied);
    control.resume();
    expect(await copy).toMatchObject({ copied: 48 * MiB });
    execFileSync('cmp', [at('big'), at('big2')]);
  });

  test('shares one speed with the others, and none of them starts while paused', async () => {
    const control = new CopyControl({ speed: SLOW, paused: true });
    const seen = new Map<string, number>();
    const sources = [slowSource('one'), slowSource('two')];
    const copy = copyImages(
      sources.map((source) => request(source, `${source}.copy`)),
      { control, onProgress: ({ source, copied }) => void seen.set(source, copied) },
    );
    await until(() => sources.every((source) => existsSync(`${source}.copy`)), copy);
    expect([...seen.values()].every((copied) => copied === 0)).toBe(true);
    control.resume();
    await until(() => sources.every((source) => (seen.get(source) ?? 0) > 0), copy);
    expect([...seen.values()].every((copied) => copied < 48 * MiB)).toBe(true);
    control.setSpeed(0);
    await copy;
    for (const source of sources) execFileSync('cmp', [source, `${source}.copy`]);
  });

  test('is stopped by its signal and leaves nothing', async () => {
    const stop = new AbortController();
    const { copy } = await slowCopy(stop.signal);
    stop.abort(new Error('enough'));
    await expect(copy).rejects.toThrow('enough');
    expectNoLitter();
  });

  test('fails as a whole when the storage daemon dies, and leaves nothing', async () => {
    const { copy, daemon } = await slowCopy();
    process.kill(daemon, 'SIGKILL');
    await expect(copy).rejects.toMatchObject({
      code: 'COPY_FAILED',
      message: expect.stringContaining('killed by SIGKILL') as string,
    });
    expectNoLitter();
  });

  test('notices that the source is written to', async () => {
    const control = new CopyControl({ speed: SLOW });
    const copy = copyImage(request(slowSource('moving'), at('moving-copy')), {
      control,
      onProgress: ({ copied }) => {
        if (copied === 0 || control.speed === 0) return;
        appendFileSync(at('moving'), 'more');
        control.setSpeed(0);
      },
    });
    await expect(copy).rejects.toMatchObject({ code: 'SOURCE_CHANGED' });
    expectNoLitter();
  });

  test('reports a write error of the target', async () => {
    // The limit on the size of a file makes write(2) fail with EFBIG, once the signal that goes with it is ignored.
    const limited = at('limited-daemon');
    writeFileSync(limited, `#!/bin/sh\ntrap '' XFSZ\nexec prlimit --fsize=${20 * MiB} qemu-storage-daemon "$@"\n`);
    chmodSync(limited, 0o755);
    process.env['QEMU_STORAGE_DAEMON'] = limited;
    try {
      await expect(copyImage(request(slowSource('wide'), at('wide-copy')))).rejects.toMatchObject({
        code: 'COPY_FAILED',
        message: expect.stringContaining('File too large') as string,
      });
    } finally {
      delete process.env['QEMU_STORAGE_DAEMON'];
    }
    expectNoLitter();
  });

  test('ends when its parent is killed: nothing goes on writing', async () => {
    slowSource('orphaned');
    const script = `
      import { CopyControl, copyImage } from ${JSON.stringify(new URL('index.ts', import.meta.url).href)};
      await copyImage(${JSON.stringify(request(at('orphaned'), at('orphan')))}, {
        control: new CopyControl({ speed: ${SLOW} }),
        onProgress: ({ copied }) => copied > 0 && console.log('under way'),
      });`;
    const parent = spawn(process.execPath, ['--input-type=module', '-e', script], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    await new Promise((resolve) => void parent.stdout.once('data', resolve));
    const [daemon] = children(parent.pid ?? 0, 'qemu-storage-daemon');
    expect(daemon).toBeDefined();
    parent.kill('SIGKILL');
    await until(() => !existsSync(`/proc/${daemon}`));
    // What it left is made anew on request.
    expect(existsSync(at('orphan'))).toBe(true);
    await copyImage(request(at('orphaned'), at('orphan'), { replace: true }));
    execFileSync('cmp', [at('orphaned'), at('orphan')]);
  });
});
