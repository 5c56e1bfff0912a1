import { execFileSync, spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import {
  closeSync,
  copyFileSync,
  existsSync,
  mkdtempSync,
  openSync,
  readFileSync,
  rmSync,
  truncateSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, describe, expect, test } from 'vitest';
import { CopyControl, type VerifyOptions, verifyCopy } from './index.ts';

const root = mkdtempSync(join(tmpdir(), 'image-verify-'));
afterAll(() => rmSync(root, { recursive: true }));
const at = (name: string): string => join(root, name);
const MiB = 2 ** 20;

function options(more: Partial<VerifyOptions> = {}): VerifyOptions {
  return { source: { path: at('a'), blockDevice: false }, target: at('b'), ...more };
}

function write(name: string, pieces: readonly (readonly [offset: number, bytes: Buffer])[], size: number): void {
  const file = openSync(at(name), 'w');
  for (const [offset, bytes] of pieces) writeSync(file, bytes, 0, bytes.length, offset);
  closeSync(file);
  truncateSync(at(name), size);
}

/** What the digest is said to be, in the plainest way. */
function digestOf(bytes: Buffer): string {
  const whole = createHash('sha256');
  for (let n = 0; n < bytes.length; n += MiB) {
    whole.update(
      createHash('sha256')
        .update(bytes.subarray(n, n + MiB))
        .digest(),
    );
  }
  return whole.digest('hex');
}

/** At 1 MiB/s it would take minutes. */
function slowPair(): void {
  writeFileSync(at('a'), Buffer.alloc(400 * MiB, 'slow'));
  copyFileSync(at('a'), at('b'));
}

describe('verifyCopy', () => {
  test.each([0, 1, 511, 512, 4097, MiB, 5 * MiB + 13])('proves %d bytes', async (size) => {
    const bytes = Buffer.alloc(size, 'some bytes');
    writeFileSync(at('a'), bytes);
    writeFileSync(at('b'), bytes);
    expect(await verifyCopy(options())).toMatchObject({ compared: size, size, digest: digestOf(bytes) });
  });

  test('a hole and zeroes are the same, and holes on both sides are not read', async () => {
    const size = 64 * MiB + 700;
    const data = Buffer.alloc(10_000, 7);
    write('a', [[20 * MiB + 5, data]], size);
    write(
      'b',
      [
        [20 * MiB + 5, data],
        [40 * MiB, Buffer.alloc(MiB)],
      ],
      size,
    );
    const result = await verifyCopy(options());
    expect(result).toMatchObject({ size, digest: digestOf(readFileSync(at('a'))) });
    expect(result.compared).toBeLessThan(4 * MiB);
  });

  test.each([
    ['the first byte', 0],
    ['a byte amid data', 3 * MiB + 77],
    ['a byte in a hole of the source', 30 * MiB + 4097],
    ['the last byte', 64 * MiB + 699],
  ])('finds that %s differs', async (_, offset) => {
    const size = 64 * MiB + 700;
    write('a', [[0, Buffer.alloc(5 * MiB, 1)]], size);
    copyFileSync(at('a'), at('b'));
    const file = openSync(at('b'), 'r+');
    writeSync(file, Buffer.from([255]), 0, 1, offset);
    closeSync(file);
    await expect(verifyCopy(options())).rejects.toMatchObject({
      code: 'VERIFY_MISMATCH',
      fields: { source: at('a'), target: at('b'), offset },
    });
  });

  test('finds that data of the source is a hole in the target', async () => {
    write('a', [[2 * MiB, Buffer.alloc(4096, 9)]], 8 * MiB);
    write('b', [], 8 * MiB);
    await expect(verifyCopy(options())).rejects.toMatchObject({ fields: { offset: 2 * MiB } });
  });

  test('finds that one is longer', async () => {
    write('a', [[0, Buffer.alloc(1000, 9)]], MiB);
    write('b', [[0, Buffer.alloc(1000, 9)]], MiB + 1);
    await expect(verifyCopy(options())).rejects.toMatchObject({ code: 'VERIFY_MISMATCH', fields: { offset: MiB } });
  });

  test('reads a file system without O_DIRECT', async (context) => {
    context.skip(!existsSync('/dev/shm'), 'there is no /dev/shm');
    const shm = mkdtempSync('/dev/shm/image-verify-');
    try {
      writeFileSync(at('a'), Buffer.alloc(3 * MiB + 1, 5));
      copyFileSync(at('a'), join(shm, 'b'));
      expect(await verifyCopy(options({ target: join(shm, 'b') }))).toMatchObject({ size: 3 * MiB + 1 });
    } finally {
      rmSync(shm, { recursive: true });
    }
  });

  test('says what it could not read', async () => {
    await expect(verifyCopy(options({ target: at('gone') }))).rejects.toMatchObject({ code: 'VERIFY_FAILED' });
  });
});

describe('a verification under way', () => {
  test('obeys a pause and a new speed', async () => {
    slowPair();
    const control = new CopyControl({ speed: MiB });
    let compared = 0;
    const reached = Promise.withResolvers<void>();
    const onProgress = (bytes: number): void => {
      compared = bytes;
      if (bytes > 0) reached.resolve();
    };
    const work = verifyCopy(options({ control, onProgress }));
    await Promise.race([reached.promise, work]);
    control.pause();
    control.setSpeed(0);
    // It is still there: nothing lets it end while it is paused.
    expect(await Promise.race([work, sleep(1000, 'paused')])).toBe('paused');
    expect(compared).toBeLessThan(400 * MiB);
    control.resume();
    expect(await work).toMatchObject({ compared: 400 * MiB });
    expect(compared).toBe(400 * MiB);
  });

  test('is stopped by its signal', async () => {
    slowPair();
    const stop = new AbortController();
    const control = new CopyControl({ speed: MiB });
    const onProgress = (): void => stop.abort(new Error('enough'));
    await expect(verifyCopy(options({ control, onProgress, signal: stop.signal }))).rejects.toThrow('enough');
  });

  test('ends when its parent is killed', async () => {
    slowPair();
    const script = `
      import { CopyControl, verifyCopy } from ${JSON.stringify(new URL('index.ts', import.meta.url).href)};
      const onProgress = () => console.log('under way');
      await verifyCopy({ ...${JSON.stringify(options())}, control: new CopyControl({ speed: ${MiB} }), onProgress });`;
    const parent = spawn(process.execPath, ['--input-type=module', '-e', script], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    await new Promise((resolve) => void parent.stdout.once('data', resolve));
    const worker = execFileSync('ps', ['--ppid', String(parent.pid), '-o', 'pid='], { encoding: 'utf8' }).trim();
    expect(worker).toMatch(/^\d+$/);
    parent.kill('SIGKILL');
    while (existsSync(`/proc/${worker}`)) await sleep(20);
  });
});
