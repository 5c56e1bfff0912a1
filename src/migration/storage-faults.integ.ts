import { copyFile, open, readdir, rename, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { BareVm } from '../../lab/bare-vm.ts';
import { takeOver } from '../../lab/engine.ts';
import { hangingFilesystem, Lab, whyNoHang } from '../../lab/index.ts';
import { MigrationProcess } from '../../lab/migration-process.ts';
import { run } from '../base/index.ts';

const MiB = 2 ** 20;
const noHang = await whyNoHang();
if (noHang !== undefined) console.warn(`not tested: storages that fail or are slow (${noHang})`);

/** What the kernel has in memory of a storage is not read from it again. */
async function forgetCache(): Promise<void> {
  await run('sync', []);
  await writeFile('/proc/sys/vm/drop_caches', '3');
}

test.skipIf(noHang)('a source that cannot be read: the disks stay, and move when it can', async () => {
  await using storage = await hangingFilesystem({ size: 64 * MiB, error: 'EIO', failing: 'reads' });
  await using lab = await Lab.open({ name: 'source fails' });
  const here = await BareVm.start(lab, { source: storage.path });
  const failed = await here.migrate('copy begun', async () => {
    await here.write('a', 7);
    await forgetCache();
    await storage.fail(true);
  });
  // The copy cannot go on, and the overlays cannot be folded back into images that cannot be read.
  expect(failed.outcome).toMatchObject({ kind: 'attention', cause: { code: 'FOLD_FAILED' } });
  expect(failed.outcome.message).toContain('The source is the truth for every disk');
  expect(await here.status()).toBe('running');
  await storage.fail(false);
  const back = await takeOver(here.vm, { stateDir: here.stateDir, id: failed.plan.id });
  expect(back.kind, back.message).toBe('rolled-back');
  expect(here.left(failed.plan.id)).toEqual([]);
  expect(await readdir(here.target)).toEqual([]);
  const again = await here.migrate('copy begun', () => here.write('b', 8));
  expect(again.outcome).toMatchObject({ kind: 'done' });
  await here.holds(here.target, { a: [7], b: [8] });
});

test.skipIf(noHang)('a target that is slow is waited for, however long it takes', async () => {
  await using storage = await hangingFilesystem({ size: 64 * MiB, delayMs: 5, rate: 8 * MiB });
  await using lab = await Lab.open({ name: 'target slow' });
  const here = await BareVm.start(lab);
  const slow = await here.migrate('copy begun', () => here.write('a', 7), { to: storage.path });
  expect(slow.outcome).toMatchObject({ kind: 'done' });
  expect(here.left(slow.plan.id)).toEqual([]);
  await here.holds(storage.path, { a: [7] });
});

test('a journal that is damaged: nothing is guessed, and all goes on with what it was', async () => {
  await using lab = await Lab.open({ name: 'journal damaged' });
  const here = await BareVm.start(lab);
  await here.write('a', 7);
  const order = { qmpPath: here.vm.qmpPath, stateDir: here.stateDir };
  const death = { step: 'pivot', when: 'recorded' } as const;
  const killed = new MigrationProcess({ ...order, request: { to: here.target }, death });
  expect(await killed.outcome()).toBeUndefined();
  const before = await here.traces();

  const files = ['journal.db', 'journal.db-wal'].map((name) => join(here.stateDir, name));
  for (const path of files) {
    await copyFile(path, `${path}.kept`);
    const { size } = await stat(path);
    await using file = await open(path, 'r+');
    await file.write(Buffer.alloc(size, 0xa5), 0, size, 0);
  }
  await expect(takeOver(here.vm, { stateDir: here.stateDir, id: killed.id })).rejects.toMatchObject({
    code: 'JOURNAL_DAMAGED',
  });
  expect(await here.traces()).toEqual(before);

  for (const path of files) await rename(`${path}.kept`, path);
  expect(await takeOver(here.vm, { stateDir: here.stateDir, id: killed.id })).toMatchObject({ kind: 'done' });
  expect(here.left(killed.id)).toEqual([]);
  await here.holds(here.target, { a: [7] });
});
