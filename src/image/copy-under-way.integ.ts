import { execFileSync, spawn } from 'node:child_process';
import { appendFileSync, chmodSync, existsSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, describe, expect, test } from 'vitest';
import { CopyControl, type CopyProgress, copyImage, copyImages, type CopyRequest } from './index.ts';
import { children, noise, until } from './testing/slow-work.ts';

const root = mkdtempSync(join(tmpdir(), 'image-under-way-'));
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

/** A file whose copy at 64 KiB/s would take more than ten minutes: whatever ends sooner was told to. */
function slowSource(name: string): string {
  writeFileSync(at(name), noise(48 * MiB));
  return at(name);
}

const SLOW = 64 * 1024;
/** How often a job is asked while nothing may change. */
const LOOKS = 6;

async function slowCopy(signal?: AbortSignal): Promise<{ copy: Promise<unknown>; daemon: number }> {
  writeFileSync(at('odd'), noise(70_001));
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
