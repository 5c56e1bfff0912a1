import { cp, mkdir, readdir, readlink, rename, symlink } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { migrate, traces } from '../../lab/engine.ts';
import { chainFacts, sameDisk } from '../../lab/image-facts.ts';
import { Lab, type LabDisk, qemuBuilds } from '../../lab/index.ts';

const MiB = 2 ** 20;
const { builds } = await qemuBuilds();

/** Whatever a file may be called. What QEMU would take for a protocol, an option or a pattern is all in here. */
const NAMES = [
  `it's "quoted", 50% = {half} & $HOME \\ *?`,
  'nbd:local:10809',
  'json:{"driver":"raw"}',
  '-rf',
  'Größe 磁盘 😀',
  `${'long '.repeat(38)}end`.slice(0, 200),
  'two\nlines\tand a tab',
];

/** One style for each build: what a name may be is settled by QEMU's parsers, which differ in the style. */
const cases = [
  { build: builds[0], style: 'drive' as const },
  { build: builds.at(-1), style: 'blockdev' as const },
].flatMap(({ build, style }) => (build ? [{ build, style, version: build.version }] : []));

describe('names of every kind', () => {
  test.each(cases)('of folders, images, bases and VMs (QEMU $version, $style)', async ({ build, style }) => {
    await using lab = await Lab.open({ name: 'names', build });
    const source = await lab.storage(`from, here = 100% "s'rc": 源`);
    const target = await lab.storage(`-to: there, = 50% 'dst' "目标"`);
    const stateDir = await lab.storage('state, of = it');
    const disks: LabDisk[] = [];
    for (const [n, name] of NAMES.entries()) {
      const base = { path: join(source, `${name}.base`), format: 'raw' as const };
      await lab.image({ ...base, size: 2 * MiB, fill: { bytes: MiB, seed: n + 1 } });
      const backing = { path: `./${name}.base`, format: 'raw' };
      const path = join(source, name);
      await lab.image({ path, format: 'qcow2', backing, fill: { bytes: 64 * 1024, offset: MiB, seed: 50 + n } });
      disks.push({ id: `d${n}`, path, format: 'qcow2', serial: `s${n}` });
    }
    const pristine = join(lab.folder, 'pristine');
    await cp(source, pristine, { recursive: true });
    const vm = await lab.startVm({ name: `a, "b" = 'c' %d: é`, disks, style, boot: false });

    const { outcome, plan, events } = await migrate(vm, { stateDir, request: { to: target } });

    expect(outcome.kind, JSON.stringify(events.filter(({ type }) => type === 'failed'))).toBe('done');
    expect(plan.vm.name).toBe(vm.name);
    const images = NAMES.flatMap((name) => [name, `${name}.base`]);
    expect((await readdir(target)).toSorted()).toEqual(images.toSorted());
    expect((await readdir(source)).filter((name) => !name.endsWith('.base'))).toEqual([]);
    expect((await traces(vm, [])).jobs).toEqual([]);
    await vm.stop();
    await rename(source, `${source} away`);
    for (const name of NAMES) {
      const [top] = await chainFacts(build, join(target, name));
      expect(basename(top?.['backing-filename'] ?? '')).toBe(`${name}.base`);
      expect(top?.['backing-filename']).not.toMatch(/^\//);
      expect(await sameDisk(build, join(target, name), join(pristine, name)), name).toBe(true);
    }
  });
});

test('symbolic links to folders and images, and relative paths on the command line', async () => {
  await using lab = await Lab.open({ name: 'links' });
  const [store, target] = [await lab.storage('store'), await lab.storage('target')];
  const named = join(lab.folder, 'named');
  await mkdir(named);
  const linkedTarget = join(lab.folder, 'linked target');
  await symlink(target, linkedTarget);
  const disks: LabDisk[] = [];
  for (const [n, name] of ['folder-link', 'image-link', 'relative'].entries()) {
    await lab.image({
      path: join(store, `${name}.raw`),
      format: 'raw',
      size: 4 * MiB,
      fill: { bytes: MiB, seed: n + 1 },
    });
    disks.push({ id: `d${n}`, format: 'raw', path: join(store, `${name}.raw`) });
  }
  const pristine = join(lab.folder, 'pristine');
  await cp(store, pristine, { recursive: true });
  await symlink(store, join(named, 'store'));
  await symlink('../store/image-link.raw', join(named, 'disk.raw'));
  // QEMU runs in a folder of its own below the lab's.
  const paths = [join(named, 'store', 'folder-link.raw'), join(named, 'disk.raw'), '../store/relative.raw'];
  const vm = await lab.startVm({
    name: 'links',
    boot: false,
    disks: disks.map((disk, n) => ({ ...disk, path: paths[n] ?? '' })),
  });

  const { outcome, events } = await migrate(vm, {
    stateDir: await lab.storage('state'),
    request: { to: linkedTarget, leaveLink: true },
  });

  expect(outcome.kind, JSON.stringify(events.filter(({ type }) => type === 'failed'))).toBe('done');
  // On the target they are called what the VM calls them.
  expect((await readdir(target)).toSorted()).toEqual(['disk.raw', 'folder-link.raw', 'relative.raw']);
  for (const [path, image] of [
    [join(store, 'folder-link.raw'), 'folder-link.raw'],
    [join(named, 'disk.raw'), 'disk.raw'],
    [join(store, 'relative.raw'), 'relative.raw'],
  ] as const) {
    expect(await readlink(path)).toBe(join(target, image));
  }
  expect(await readdir(store)).toHaveLength(2);
  await vm.stop();
  for (const [image, was] of [
    ['disk.raw', 'image-link.raw'],
    ['folder-link.raw', 'folder-link.raw'],
    ['relative.raw', 'relative.raw'],
  ] as const) {
    expect(await sameDisk(lab.build, join(target, image), join(pristine, was)), image).toBe(true);
  }
});
