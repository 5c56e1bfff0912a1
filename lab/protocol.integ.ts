import { describe, expect, test } from 'vitest';
import { QmpSchema } from '../src/qmp/index.ts';
import { Rig, SUBCLUSTERS, wrongBlocks } from './protocol-rig.ts';
import { namedNodes } from './protocol-steps.ts';
import { qemuBuilds } from './qemu-builds.ts';

// What the engine rests on, on each build of QEMU. The writers run all the time unless a line says that they are stopped.

const { builds, missing } = await qemuBuilds();
for (const { label, reason } of missing) console.warn(`SKIPPED, QEMU '${label}': ${reason}`);

const sbase = (disk: string): string => `base-${disk}`;
const dbase = (disk: string): string => `dbase-${disk}`;
const overlay = (disk: string): string => `${disk}.ov`;
const base = (disk: string): string => `${disk}.base`;

describe.each(builds)('QEMU $version ($label)', (build) => {
  // Writes smaller than the unit in which an overlay is allocated: 4 KiB in clusters, 512 bytes in subclusters.
  describe.each([
    { blockSize: 4096, overlay: 'cluster_size=64k' },
    { blockSize: 512, overlay: SUBCLUSTERS },
  ])('the known corruption: $blockSize-byte writes, $overlay', (options) => {
    test('both sides are the same where the target is on the source’s base', async () => {
      await using rig = await Rig.start({ build, ...options });
      await rig.mirrored();
      await rig.pivot();
      await rig.written(50);
      expect(wrongBlocks(await rig.checkLive())).toBe(0);
      expect(wrongBlocks(await rig.checkFiles('target', overlay))).toBe(0);
    });

    test('a target without backing is corrupted: this guard has teeth', async () => {
      await using rig = await Rig.start({ build, ...options });
      await rig.mirrored({ backing: () => null });
      await rig.pivot();
      const [result] = await rig.checkLive();
      // What was written during the mirror is there; what was beside it in the cluster was zeroed.
      expect(result?.damagedCount).toBeGreaterThan(0);
      expect(result?.lost.every(({ found }) => found === 'zeroes')).toBe(true);
    });
  });

  describe('the pivot', () => {
    // Never at ready in write-blocking: a write that is between its source half and its target half then runs into a
    // qcow2 whose caches are being replaced. QEMU 7.2 and 10.0 die of it (SIGSEGV) or lose the write without a word.
    test('the target is put on its own chain while pending', async () => {
      await using rig = await Rig.start({ build, disks: ['a', 'b'], depth: 16 });
      await rig.mirrored();
      await rig.steps.complete(rig.jobs);
      for (const backing of [dbase, sbase, dbase, sbase, dbase]) await rig.steps.reopenTargets(rig.disks, backing);
      await rig.steps.finalize(rig.jobs);
      await rig.written(50);
      expect(wrongBlocks(await rig.checkLive())).toBe(0);
      expect(wrongBlocks(await rig.checkFiles('target', overlay))).toBe(0);
    });

    test('or at ready while the job is in background mode, under load', async () => {
      await using rig = await Rig.start({ build, disks: ['a', 'b'], depth: 16 });
      await rig.mirrored({ mode: 'background' });
      for (const backing of [dbase, sbase, dbase, sbase, dbase]) {
        await rig.steps.reopenTargets(rig.disks, backing);
        await rig.written(20);
      }
      for (const id of rig.jobs) expect((await rig.steps.job(id))?.status).toBe('ready');
      await rig.steps.complete(rig.jobs);
      await rig.steps.finalize(rig.jobs);
      await rig.written(50);
      expect(wrongBlocks(await rig.checkLive())).toBe(0);
      expect(wrongBlocks(await rig.checkFiles('target', overlay))).toBe(0);
    });

    test('or after the pivot, under load', async () => {
      await using rig = await Rig.start({ build, disks: ['a', 'b'], depth: 16 });
      await rig.mirrored();
      await rig.steps.complete(rig.jobs);
      await rig.steps.finalize(rig.jobs);
      for (const backing of [dbase, sbase, dbase]) {
        await rig.steps.reopenTargets(rig.disks, backing);
        await rig.written(20);
      }
      expect(wrongBlocks(await rig.checkLive())).toBe(0);
      expect(wrongBlocks(await rig.checkFiles('target', overlay))).toBe(0);
    });

    test('all are pending, with I/O held, until they are finalized', async () => {
      await using rig = await Rig.start({ build, disks: ['a', 'b'] });
      await rig.mirrored();
      await rig.steps.complete(rig.jobs);
      await rig.steps.reopenTargets(rig.disks, dbase);
      for (const disk of rig.disks) await expectHeld(rig, disk);
      await rig.steps.finalize(rig.jobs);
      await rig.written(50);
      expect(wrongBlocks(await rig.checkFiles('target', overlay))).toBe(0);
    });

    test('a background job is changed to write-blocking, then pivots', async ({ skip }) => {
      await using rig = await Rig.start({ build });
      const schema = await QmpSchema.load(rig.qmp);
      skip(!schema.has('block-job-change'), `QEMU ${build.version} has no block-job-change`);
      await rig.mirrored({ mode: 'background' });
      await rig.steps.reopenTargets(rig.disks, dbase);
      await rig.qmp.execute('block-job-change', { type: 'mirror', id: 'm-a', 'copy-mode': 'write-blocking' });
      await synced(rig);
      await rig.written(100);
      await rig.steps.complete(rig.jobs);
      await rig.steps.finalize(rig.jobs);
      expect(wrongBlocks(await rig.checkLive())).toBe(0);
      expect(wrongBlocks(await rig.checkFiles('target', overlay))).toBe(0);
    });
  });

  // Never from ready in write-blocking: a job that ends early frees its in-flight bitmap before it drains the disk
  // (mirror_run in QEMU's block/mirror.c, 7.2 and 10.0), and guest writes then clear bits in freed memory: QEMU dies.
  describe('rollback', () => {
    test.each(['ready in background', 'pending', 'pending and reopened'])(
      'from %s: the source holds all, and is as deep as before',
      async (state) => {
        const background = state === 'ready in background';
        await using rig = await Rig.start({ build, disks: ['a', 'b'], depth: 16 });
        await rig.mirrored({ mode: background ? 'background' : 'write-blocking' });
        if (!background) await rig.steps.complete(rig.jobs);
        if (state.endsWith('reopened')) await rig.steps.reopenTargets(rig.disks, dbase);
        for (const id of rig.jobs) await rig.qmp.execute('job-cancel', { id });
        expect(await rig.steps.dismiss(rig.jobs)).toEqual(['Operation canceled', 'Operation canceled']);
        await rig.written(50);
        for (const disk of rig.disks) {
          await rig.qmp.execute('blockdev-del', { 'node-name': `dst-${disk}` });
          await rig.qmp.execute('blockdev-del', { 'node-name': `dbase-${disk}` });
          await rig.steps.fold(`src-${disk}`, `base-${disk}`, `fold-${disk}`);
          await rig.steps.complete([`fold-${disk}`]);
          await rig.steps.finalize([`fold-${disk}`]);
          await rig.qmp.execute('blockdev-del', { 'node-name': `src-${disk}` });
        }
        await rig.written(50);
        expect(await namedNodes(rig.qmp)).toEqual(['base-a', 'base-b']);
        expect(await rig.openFiles('target')).toEqual([]);
        expect(await rig.openFiles('source')).toEqual(['a.base', 'b.base']);
        expect(wrongBlocks(await rig.checkLive())).toBe(0);
        expect(wrongBlocks(await rig.checkFiles('source', base))).toBe(0);
      },
    );
  });

  describe('the fold on the target', () => {
    test.each(['qcow2', 'raw'] as const)('into a %s base, with pending held, leaves one image', async (baseFormat) => {
      await using rig = await Rig.start({ build, baseFormat });
      await rig.mirrored();
      await rig.pivot();
      for (const name of ['src-a', 'base-a']) await rig.qmp.execute('blockdev-del', { 'node-name': name });
      expect(await rig.openFiles('source')).toEqual([]);
      await rig.written(50);
      await rig.steps.fold('dst-a', 'dbase-a', 'fold-a');
      await rig.written(50);
      await rig.steps.complete(['fold-a']);
      await expectHeld(rig, 'a');
      await rig.steps.finalize(['fold-a']);
      await rig.qmp.execute('blockdev-del', { 'node-name': 'dst-a' });
      expect(await namedNodes(rig.qmp)).toEqual(['dbase-a', 'fdbase-a']);
      expect(await rig.openFiles('target')).toEqual(['a.base']);
      await rig.written(50);
      expect(wrongBlocks(await rig.checkLive())).toBe(0);
      expect(wrongBlocks(await rig.checkFiles('target', base))).toBe(0);
    });
  });
});

/** Writes are in flight, and none is acknowledged however often the monitor answers meanwhile. */
async function expectHeld(rig: Rig, disk: string): Promise<void> {
  const wait = async (): Promise<number> => {
    for (let round = 0; round < 50; round += 1) await rig.qmp.execute('query-jobs');
    return rig.writer(disk).record().acknowledged;
  };
  // What was acknowledged before may still be on its way.
  const before = await wait();
  expect(await wait()).toBe(before);
  expect(rig.writer(disk).record().begun).toBeGreaterThan(before);
}

/** Waits until QEMU says that each write is on both sides before it is acknowledged. */
async function synced(rig: Rig): Promise<void> {
  for (;;) {
    const [job] = await rig.qmp.execute('query-block-jobs');
    if (job?.['actively-synced'] === true) return;
    await rig.written(1);
  }
}
