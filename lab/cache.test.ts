import { existsSync } from 'node:fs';
import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { cached } from './cache.ts';

let folder: string;

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'cache-test-'));
  vi.stubEnv('BLOCKFERRY_CACHE', folder);
});

afterEach(async () => {
  vi.unstubAllEnvs();
  await rm(folder, { recursive: true });
});

test('is made once', async () => {
  let made = 0;
  const make = async (into: string): Promise<void> => {
    made += 1;
    await writeFile(join(into, 'a'), 'contents');
  };
  const first = await cached('thing', make);
  expect(await cached('thing', make)).toBe(first);
  expect(await readFile(join(first, 'a'), 'utf8')).toBe('contents');
  expect(made).toBe(1);
});

test('what fails half way leaves nothing', async () => {
  const broken = cached('thing', async (into) => {
    await writeFile(join(into, 'half'), '');
    throw new Error('interrupted');
  });
  await expect(broken).rejects.toThrow('interrupted');
  expect(await readdir(folder)).toEqual([]);
});

test('two that make it at once both get a whole one', async () => {
  const gate = Promise.withResolvers<void>();
  let waiting = 0;
  const make = async (into: string): Promise<void> => {
    waiting += 1;
    if (waiting === 2) gate.resolve();
    await gate.promise;
    await writeFile(join(into, 'a'), 'contents');
  };
  const paths = await Promise.all([cached('thing', make), cached('thing', make)]);
  expect(new Set(paths).size).toBe(1);
  expect(await readdir(folder)).toEqual(['thing']);
});

test('what a killed process left half made is removed, and that of a living one is not', async () => {
  // Above the largest pid that Linux gives (4194304), so nobody runs under it.
  await mkdir(join(folder, 'making-4194305-x'));
  await mkdir(join(folder, 'making-1-x'));
  await cached('thing', async () => undefined);
  expect(existsSync(join(folder, 'making-4194305-x'))).toBe(false);
  expect(existsSync(join(folder, 'making-1-x'))).toBe(true);
});
