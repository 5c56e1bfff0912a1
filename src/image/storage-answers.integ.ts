import { rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { hangingFilesystem, whyNoHang } from '../../lab/index.ts';
import { storageAnswers } from './storage-answers.ts';

const MiB = 2 ** 20;
const LONG_MS = 30_000;
const noHang = await whyNoHang();
if (noHang !== undefined) console.warn(`not tested: a storage that hangs (${noHang})`);

describe('a storage answers', () => {
  test.each(['/dev/shm', tmpdir()])('%s, a folder and a file of it', async (folder) => {
    const path = join(folder, `answers,=${process.pid}`);
    await writeFile(path, 'x');
    try {
      expect([await storageAnswers(path, LONG_MS), await storageAnswers(folder, LONG_MS)]).toEqual([true, true]);
    } finally {
      await rm(path);
    }
  });

  test('with an error, too', async () => {
    expect(await storageAnswers('/no/such/file', LONG_MS)).toBe(true);
  });
});

test.skipIf(noHang)('one that hangs does not, though the page cache has all of it, until it comes back', async () => {
  await using storage = await hangingFilesystem({ size: 16 * MiB });
  const path = join(storage.path, 'file');
  await writeFile(path, Buffer.alloc(MiB, 1));
  expect(await storageAnswers(path, LONG_MS)).toBe(true);

  await storage.hang();
  expect(await storageAnswers(path, 300)).toBe(false);
  // Asked again, it is the first question that is waited for.
  const answer = storageAnswers(path, LONG_MS);
  await storage.answer();
  expect(await answer).toBe(true);
});
