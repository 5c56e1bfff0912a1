import { copyFile, readdir, readlink } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { isFerryError, run } from '../src/base/index.ts';
import { QmpClient } from '../src/qmp/index.ts';
import { Lab } from './lab.ts';
import { DISK_SIZE, makeBase, makeOverlay, openFilesUnder, Rig, type RigOptions, wrongBlocks } from './protocol-rig.ts';
import { namedNodes, ProtocolSteps } from './protocol-steps.ts';
import { type QemuBuild, qemuBuilds } from './qemu-builds.ts';
import { writeOffset } from './write-pattern.ts';

// What becomes of nodes, files and bitmaps that a migration meets or leaves, on each build of QEMU.

const { builds, missing } = await qemuBuilds();
for (const { label, reason } of missing) console.warn(`SKIPPED, QEMU '${label}': ${reason}`);

const base = (disk: string): string => `${disk}.base`;

/** Deletes a node; what QEMU says where it refuses. */
async function del(qmp: QmpClient, node: string): Promise<string> {
  try {
    await qmp.execute('blockdev-del', { 'node-name': node });
    return 'deleted';
  } catch (error) {
    if (!isFerryError(error, 'QMP_COMMAND')) throw error;
    return error.message;
  }
}

/** The descriptors under which a process has a file open. */
async function descriptors(pid: number, path: string): Promise<string[]> {
  const folder = `/proc/${pid}/fd`;
  const all = await Promise.all(
    (await readdir(folder)).map(async (fd) => [fd, await readlink(join(folder, fd)).catch(() => '')] as const),
  );
  return all.filter(([, target]) => target === path).map(([fd]) => fd);
}

/** How many acknowledged writes a bitmap does not mark, and how many bytes it marks. Stops the writer. */
async function unmarked(rig: Rig, node: string, name: string): Promise<{ writes: number; bytes: number }> {
  const record = await rig.writer('a').stop();
  await rig.qmp.execute('block-dirty-bitmap-disable', { node, name });
  const exported = { id: name, name, 'node-name': node, bitmaps: [name] };
  await rig.qmp.execute('block-export-add', { type: 'nbd', ...exported });
  const uri = `nbd+unix:///${name}?socket=${rig.daemon.nbdSocket}`;
  const { stdout } = await run('nbdinfo', ['--json', `--map=qemu:dirty-bitmap:${name}`, uri]);
  const map = JSON.parse(stdout) as { offset: number; length: number; type: number }[];
  const dirty = map.filter(({ type }) => type === 1);
  let writes = 0;
  for (let n = 1; n <= record.acknowledged; n += 1) {
    const at = writeOffset(record, n);
    if (!dirty.some(({ offset, length }) => offset <= at && at < offset + length)) writes += 1;
  }
  return { writes, bytes: dirty.reduce((sum, { length }) => sum + length, 0) };
}

/** The names of the bitmaps of a node. */
async function bitmapsOf(rig: Rig, node: string): Promise<string[]> {
  const nodes = await rig.qmp.execute('query-named-block-nodes', { flat: true });
  const found = nodes.find((info) => info['node-name'] === node)?.['dirty-bitmaps'] ?? [];
  return found.flatMap(({ name }) => name ?? []).sort();
}

/** Every write is made after the bitmaps are there. */
async function withBitmaps(build: QemuBuild): Promise<Rig> {
  const rig = await Rig.start({ build, idle: true });
  for (const [name, persistent] of [
    ['kept', true],
    ['passing', false],
  ] as const) {
    await rig.qmp.execute('block-dirty-bitmap-add', { node: 'base-a', name, persistent, granularity: 4096 });
  }
  rig.startWriters();
  return rig;
}

/** A device on source/a.base (on source/root) that was pivoted to target/a.ov; `active` was its active node. */
async function pivoted(
  lab: Lab,
  how: { readonly style?: 'drive'; readonly separateFileNode?: boolean; readonly explicitChain?: boolean },
): Promise<{ qmp: QmpClient; active: string; openFiles: () => Promise<string[]> }> {
  const { build } = lab;
  const [source, target] = [await lab.storage('source'), await lab.storage('target')];
  await makeBase(build, join(source, 'root'), 'qcow2');
  await makeOverlay(build, join(source, 'a.base'), 'root', 'qcow2');
  for (const side of [source, target]) await makeOverlay(build, join(side, 'a.ov'), 'a.base', 'qcow2');
  const { style = 'blockdev', ...chain } = how;
  const disk = { id: 'a', path: join(source, 'a.base'), format: 'qcow2' as const, ...chain };
  const vm = await lab.startVm({ name: 'vm', boot: false, style, disks: [disk] });
  const qmp = await QmpClient.connect({ path: vm.qmpPath });
  lab.defer(() => qmp.close());
  const [device] = await qmp.execute('query-block');
  const active = device?.inserted?.['node-name'] ?? '';
  const steps = new ProtocolSteps(qmp, { source, target }, 'qcow2');
  await steps.snapshot(['a'], () => active);
  for (const name of ['root', 'a.base']) await copyFile(join(source, name), join(target, name));
  await steps.addTarget('a', active);
  await steps.addTargetChain('a');
  await steps.mirror('a');
  await steps.reached(['m-a'], 'ready');
  await steps.complete(['m-a']);
  await steps.reopenTargets(['a'], () => 'dbase-a');
  await steps.finalize(['m-a']);
  return { qmp, active, openFiles: () => openFilesUnder(vm.pid, source) };
}

describe.each(builds)('QEMU $version ($label)', (build) => {
  describe('removal of the source after the pivot, in an emulator', () => {
    test('-blockdev with a node for each image and file: from the top down, file after format, each by its name', async () => {
      await using lab = await Lab.open({ name: 'nodes', build });
      const { qmp, active, openFiles } = await pivoted(lab, { separateFileNode: true, explicitChain: true });
      expect(await openFiles()).toEqual(['a.base', 'a.ov', 'root']);
      expect(await del(qmp, active)).toContain("node is used as backing hd of 'src-a'");
      expect(await del(qmp, 'file-a')).toContain('in use');
      expect(await del(qmp, 'fsrc-a')).toContain('not owned by the monitor');
      expect(await del(qmp, 'src-a')).toBe('deleted');
      expect(await del(qmp, 'file-a')).toContain('in use');
      expect(await del(qmp, active)).toBe('deleted');
      expect(await openFiles()).toEqual(['a.base', 'root']);
      expect(await del(qmp, 'file-a')).toBe('deleted');
      expect(await openFiles()).toEqual(['root']);
      // What is below was opened on the command line too: it stays until it is deleted by name.
      const left = (await namedNodes(qmp)).filter((name) => /^(base|file)-a-/.test(name));
      for (const name of left) expect(await del(qmp, name)).toBe('deleted');
      expect(await openFiles()).toEqual([]);
    });

    test('-drive: the implicit nodes go with the overlay', async () => {
      await using lab = await Lab.open({ name: 'nodes', build });
      const { qmp, active, openFiles } = await pivoted(lab, { style: 'drive' });
      expect(active).toMatch(/^#block/);
      expect(await del(qmp, active)).toContain("node is used as backing hd of 'src-a'");
      expect(await del(qmp, 'src-a')).toBe('deleted');
      expect(await openFiles()).toEqual([]);
      expect(await del(qmp, active)).toContain('Failed to find node');
    });
  });

  test.each([
    ['inline: a node that is put on it later has it opened anew', false],
    ['a node of its own: it stays as it is', true],
  ])('the file of an image that a snapshot was taken of, %s', async (_, separateFileNode) => {
    await using lab = await Lab.open({ name: 'nodes', build });
    const folder = await lab.storage('source');
    const path = join(folder, 'a.base');
    await makeBase(build, path, 'qcow2');
    for (const name of ['a.ov', 'a.twin']) await makeOverlay(build, join(folder, name), 'a.base', 'qcow2');
    const disk = { id: 'a', path, format: 'qcow2' as const, separateFileNode };
    const vm = await lab.startVm({ name: 'vm', boot: false, disks: [disk] });
    await using qmp = await QmpClient.connect({ path: vm.qmpPath });
    const node = (await qmp.execute('query-block'))[0]?.inserted?.['node-name'] ?? '';
    const add = async (name: string, backing: string | null): Promise<unknown> => {
      const file = { driver: 'file' as const, filename: join(folder, name) };
      return await qmp.execute('blockdev-add', { driver: 'qcow2', 'node-name': name, file, backing });
    };
    await add('a.ov', null);
    await qmp.execute('transaction', { actions: [{ type: 'blockdev-snapshot', data: { node, overlay: 'a.ov' } }] });
    const before = await descriptors(vm.pid, path);
    await add('a.twin', node);
    const after = await descriptors(vm.pid, path);
    expect([before.length, after.length, after.join() === before.join()]).toEqual([1, 1, separateFileNode]);
  });

  describe('dirty bitmaps on the active node', () => {
    test('a persistent one goes with the copy of the file, and the fold brings it up to date', async () => {
      await using rig = await withBitmaps(build);
      await rig.mirrored({ mode: 'background' });
      expect(await bitmapsOf(rig, 'src-a')).toEqual([]);
      expect(await bitmapsOf(rig, 'dbase-a')).toEqual(['kept']);
      // A transient one can be carried over by hand, while the node is still read-only.
      await rig.qmp.execute('block-dirty-bitmap-add', { node: 'dbase-a', name: 'carried', granularity: 4096 });
      const bitmaps = [{ node: 'base-a', name: 'passing' }];
      await rig.qmp.execute('block-dirty-bitmap-merge', { node: 'dbase-a', target: 'carried', bitmaps });
      await rig.pivot();
      await rig.written(20);
      await rig.steps.fold('dst-a', 'dbase-a', 'fold-a');
      await rig.steps.complete(['fold-a']);
      await rig.steps.finalize(['fold-a']);
      await rig.written(20);
      for (const name of ['kept', 'carried']) {
        const { writes, bytes } = await unmarked(rig, 'dbase-a', name);
        expect(writes).toBe(0);
        expect(bytes).toBeLessThan(DISK_SIZE);
      }
    });

    test('a rollback keeps both, and its fold brings them up to date', async () => {
      await using rig = await withBitmaps(build);
      await rig.mirrored({ mode: 'background' });
      await rig.qmp.execute('job-cancel', { id: 'm-a' });
      await rig.steps.dismiss(['m-a']);
      await rig.steps.fold('src-a', 'base-a', 'fold-a');
      await rig.steps.complete(['fold-a']);
      await rig.steps.finalize(['fold-a']);
      await rig.written(20);
      for (const name of ['kept', 'passing']) expect((await unmarked(rig, 'base-a', name)).writes).toBe(0);
    });

    test('a copy by qemu-img convert loses the persistent one without --bitmaps', async () => {
      await using rig = await withBitmaps(build);
      await rig.written(20);
      await rig.steps.snapshot(['a']);
      const env = { ...process.env, ...build.env };
      const [from, to] = [rig.steps.source, rig.steps.target].map((side) => join(side, 'a.base'));
      for (const [args, kept] of [
        [[], []],
        [['--bitmaps'], ['kept']],
      ] as const) {
        await run(build.img, ['convert', '-O', 'qcow2', ...args, from ?? '', to ?? ''], { env });
        await rig.steps.addTargetChain('a');
        expect(await bitmapsOf(rig, 'dbase-a')).toEqual(kept);
        expect(await del(rig.qmp, 'dbase-a')).toBe('deleted');
      }
    });
  });

  describe('an active node under a filter', () => {
    const throttle: Partial<RigOptions> = {
      objects: [{ 'qom-type': 'throttle-group', id: 'limit', limits: { 'iops-total': 5000 } }],
      above: (disk) => [
        { driver: 'throttle', 'node-name': `top-${disk}`, 'throttle-group': 'limit', file: `base-${disk}` },
      ],
    };
    // An overlay with subclusters under copy-on-read makes QEMU 7.2 abort (bdrv_co_do_copy_on_readv).
    const copyOnRead: Partial<RigOptions> = {
      overlay: 'cluster_size=64k',
      above: (disk) => [{ driver: 'copy-on-read', 'node-name': `top-${disk}`, file: `base-${disk}` }],
    };

    test('the overlay cannot be mirrored where it is not the root', async () => {
      await using rig = await Rig.start({ build, ...throttle });
      await rig.steps.snapshot(['a']);
      await rig.steps.addTarget('a', 'base-a');
      await expect(rig.steps.mirror('a')).rejects.toThrow('Need a root block node');
    });

    test('a snapshot of the filter itself works, and the filter is gone after the pivot', async () => {
      await using rig = await Rig.start({ build, ...throttle });
      await rig.steps.snapshot(['a'], () => 'top-a');
      await rig.steps.addTarget('a', 'top-a');
      await rig.whileQuiet(async () => {
        await rig.steps.mirror('a', 'background');
        await rig.steps.reached(rig.jobs, 'ready');
      });
      await rig.copyBase('a');
      await rig.steps.addTargetChain('a');
      await rig.pivot();
      for (const name of ['src-a', 'top-a', 'base-a']) expect(await del(rig.qmp, name)).toBe('deleted');
      expect(await rig.openFiles('source')).toEqual([]);
      expect(wrongBlocks(await rig.checkLive())).toBe(0);
    });

    test.each([
      ['throttle', throttle],
      ['copy-on-read', copyOnRead],
    ] as const)('%s stays where the mirror is of the root and replaces the overlay', async (_, options) => {
      await using rig = await Rig.start({ build, ...options });
      await rig.written(50);
      await rig.steps.snapshot(['a']);
      await rig.steps.addTarget('a', 'base-a');
      await rig.whileQuiet(async () => {
        await rig.steps.mirror('a', 'background', { device: 'top-a', replaces: 'src-a' });
        await rig.steps.reached(rig.jobs, 'ready');
      });
      await rig.copyBase('a');
      await rig.steps.addTargetChain('a');
      await rig.written(50);
      await rig.pivot();
      for (const name of ['src-a', 'base-a']) expect(await del(rig.qmp, name)).toBe('deleted');
      expect(await rig.openFiles('source')).toEqual([]);
      await rig.steps.fold('top-a', 'dbase-a', 'fold-a', 'dst-a');
      await rig.written(20);
      await rig.steps.complete(['fold-a']);
      await rig.steps.finalize(['fold-a']);
      expect(await del(rig.qmp, 'dst-a')).toBe('deleted');
      expect(await namedNodes(rig.qmp)).toEqual(['dbase-a', 'fdbase-a', 'top-a']);
      await rig.written(20);
      expect(wrongBlocks(await rig.checkLive())).toBe(0);
      expect(wrongBlocks(await rig.checkFiles('target', base))).toBe(0);
    });
  });

  test.each(['named', 'implicit'] as const)('two disks on one shared image, %s node', async (sharedRoot) => {
    await using rig = await Rig.start({ build, disks: ['a', 'b'], sharedRoot });
    await rig.mirrored({ mode: 'background' });
    await rig.pivot();
    for (const name of ['src-a', 'base-a']) expect(await del(rig.qmp, name)).toBe('deleted');
    if (sharedRoot === 'named') expect(await del(rig.qmp, 'root')).toContain("node is used as backing hd of 'base-b'");
    for (const name of ['src-b', 'base-b']) expect(await del(rig.qmp, name)).toBe('deleted');
    if (sharedRoot === 'named') expect(await del(rig.qmp, 'root')).toBe('deleted');
    expect(await rig.openFiles('source')).toEqual([]);
    for (const disk of rig.disks) {
      await rig.steps.fold(`dst-${disk}`, `dbase-${disk}`, `fold-${disk}`);
      await rig.steps.complete([`fold-${disk}`]);
      await rig.steps.finalize([`fold-${disk}`]);
      expect(await del(rig.qmp, `dst-${disk}`)).toBe('deleted');
    }
    expect(await rig.openFiles('target')).toEqual(['a.base', 'b.base', 'root']);
    expect(wrongBlocks(await rig.checkLive())).toBe(0);
    expect(wrongBlocks(await rig.checkFiles('target', base))).toBe(0);
  });
});
