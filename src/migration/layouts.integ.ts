import { cp, mkdir, readdir, readFile, rename, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { loadedVm, migrate, traces } from '../../lab/engine.ts';
import { chainFacts, sameDisk, unmarkedWrites } from '../../lab/image-facts.ts';
import { Lab, type LabDisk, qemuBuilds } from '../../lab/index.ts';
import { run } from '../base/index.ts';
import { openersOf } from '../image/index.ts';
import { Journal } from '../journal/index.ts';

const MiB = 2 ** 20;
const { builds } = await qemuBuilds();

/** A backing image goes only when nobody else is seen to have it open, and not everybody may look at all processes. */
const { complete: seesAll } = await openersOf(import.meta.filename);
if (!seesAll) console.warn('this user may not see what every process has open: backing images are expected to stay');
/** What is left of the source when these images have no user any more. */
const left = (...backing: readonly string[]): readonly string[] => (seesAll ? [] : backing);

/**
 * Two chains of three images on one base: `a` names what is below it relatively, `b` absolutely. The overlays are smaller
 * than full, so that the guest's writes meet clusters that no image of the chain has.
 */
async function sharedBase(lab: Lab, source: string): Promise<[LabDisk, LabDisk]> {
  const path = (name: string): string => join(source, name);
  await lab.image({ path: path('base.raw'), format: 'raw', size: 48 * MiB, fill: { bytes: 12 * MiB, seed: 1 } });
  for (const [id, folder] of [
    ['a', ''],
    ['b', `${source}/`],
  ] as const) {
    const middle = { path: path(`${id}-middle.qcow2`), backing: { path: `${folder}base.raw`, format: 'raw' } };
    const top = { path: path(`${id}.qcow2`), backing: { path: `${folder}${id}-middle.qcow2`, format: 'qcow2' } };
    const fill = { bytes: 4 * MiB, offset: 8 * MiB, seed: id.charCodeAt(0) };
    await lab.image({ format: 'qcow2', ...middle, fill });
    await lab.image({ format: 'qcow2', ...top });
  }
  return [
    { id: 'a', path: path('a.qcow2'), format: 'qcow2' },
    { id: 'b', path: path('b.qcow2'), format: 'qcow2' },
  ];
}

/** The same images in another folder, all with relative names. */
async function relocated(lab: Lab, source: string, to: string): Promise<string> {
  await mkdir(to, { recursive: true });
  for (const name of await readdir(source)) await cp(join(source, name), join(to, name));
  const env = { ...process.env, ...lab.build.env };
  for (const [image, below, format] of [
    ['b-middle.qcow2', 'base.raw', 'raw'],
    ['b.qcow2', 'b-middle.qcow2', 'qcow2'],
  ] as const) {
    await run(lab.build.img, ['rebase', '-u', '-f', 'qcow2', '-F', format, '-b', below, join(to, image)], { env });
  }
  return to;
}

const IMAGES = ['a-middle.qcow2', 'a.qcow2', 'b-middle.qcow2', 'b.qcow2', 'base.raw'];

describe.each(builds)('QEMU $version ($label): two chains of three images on one base', (build) => {
  test('move together under small writes, zeroes and discards, with a persistent bitmap', async () => {
    await using lab = await Lab.open({ name: 'layouts', build });
    const loaded = await loadedVm(lab, {
      warm: [48 * MiB, 48 * MiB],
      disks: async (source) => {
        const [a, b] = await sharedBase(lab, source);
        const env = { ...process.env, ...build.env };
        await run(build.img, ['bitmap', '--add', '-g', '65536', a.path ?? '', 'backup'], { env });
        return [
          { ...a, discard: 'unmap', iothread: 'io' },
          { ...b, discard: 'unmap', explicitChain: true, separateFileNode: true },
        ];
      },
      // 512 bytes are less than a subcluster of the overlay, 4 KiB less than a cluster of any image: what the guest does
      // not write of it has to come from below, on both sides. The regions reach over all levels, and over nothing.
      writers: () => [
        { disk: 'a', seed: 1, rate: 150, blockSize: 512, region: { offset: 6 * MiB, length: 16 * MiB }, zeroEvery: 7 },
        { disk: 'a', seed: 2, rate: 100, region: { offset: 24 * MiB, length: 24 * MiB }, discardEvery: 5 },
        { disk: 'b', seed: 3, rate: 150, region: { offset: 6 * MiB, length: 16 * MiB }, zeroEvery: 5, discardEvery: 7 },
        { disk: 'b', seed: 4, rate: 100, blockSize: 512, region: { offset: 24 * MiB, length: 24 * MiB } },
      ],
    });
    const { vm, source, target, stateDir, writers, pristine } = loaded;
    // Their names would lead to the images that the VM writes to.
    await relocated(lab, pristine, pristine + '-b');
    for (const name of ['b.qcow2', 'b-middle.qcow2']) await rename(join(`${pristine}-b`, name), join(pristine, name));

    const { outcome, plan, events } = await migrate(vm, { stateDir, request: { to: target } });

    expect(outcome.kind, JSON.stringify(events.filter(({ type }) => type === 'failed'))).toBe('done');
    expect(plan.copies.map((copy) => [copy.source, copy.disks])).toEqual([
      [join(source, 'base.raw'), ['a', 'b']],
      [join(source, 'a-middle.qcow2'), ['a']],
      [join(source, 'b-middle.qcow2'), ['b']],
      [join(source, 'a.qcow2'), ['a']],
      [join(source, 'b.qcow2'), ['b']],
    ]);
    await Promise.all(writers.map((writer) => writer.advanced(50)));
    expect(await vm.ioErrors()).toEqual([]);
    expect((await readdir(source)).toSorted()).toEqual(left('a-middle.qcow2', 'b-middle.qcow2', 'base.raw'));
    expect((await readdir(target)).toSorted()).toEqual(IMAGES);
    expect((await traces(vm, [])).nodes).toHaveLength(2);

    // The target stands alone, wherever it is.
    const moved = `${target} moved`;
    const checks = await loaded.check(({ path = '' }) => path.replace(source, target));
    await vm.stop();
    await rename(target, moved);
    await rename(source, `${source} moved`);
    expect(checks.map(({ lostCount, damagedCount }) => [lostCount, damagedCount])).toEqual(checks.map(() => [0, 0]));
    for (const id of ['a', 'b']) {
      const chain = await chainFacts(build, join(moved, `${id}.qcow2`));
      expect(chain.map((image) => [image['backing-filename'], image['backing-filename-format']])).toEqual([
        [`${id}-middle.qcow2`, 'qcow2'],
        ['base.raw', 'raw'],
        [undefined, undefined],
      ]);
    }
    for (const writer of writers.filter(({ disk }) => disk === 'a')) {
      const record = writer.record();
      expect(await unmarkedWrites(build, join(moved, 'a.qcow2'), 'backup', record)).toEqual([]);
    }
  });
});

/** The chain as libvirt 10 may start it: one node for the base, which both disks stand on. */
const oneBaseNode = (source: string): string[] => {
  const file = (name: string): object => ({
    driver: 'file',
    filename: join(source, name),
    'node-name': `file-${name}`,
  });
  const nodes: object[] = [{ ...file('base.raw'), 'node-name': 'froot' }];
  nodes.push({ driver: 'raw', 'node-name': 'root', 'read-only': true, file: 'froot' });
  const devices: string[] = [];
  for (const id of ['a', 'b']) {
    nodes.push({ ...file(`${id}-middle.qcow2`), 'node-name': `fmiddle-${id}`, 'read-only': true });
    const middle = { 'node-name': `middle-${id}`, 'read-only': true, file: `fmiddle-${id}`, backing: 'root' };
    nodes.push({ driver: 'qcow2', ...middle });
    nodes.push({ ...file(`${id}.qcow2`), 'node-name': `ftop-${id}` });
    nodes.push({ driver: 'qcow2', 'node-name': `top-${id}`, file: `ftop-${id}`, backing: `middle-${id}` });
    devices.push('-device', `virtio-blk-pci,id=${id},drive=top-${id}`);
  }
  return [...nodes.flatMap((node) => ['-blockdev', JSON.stringify(node)]), ...devices];
};

describe('one of two disks on a shared base', () => {
  test.each([
    { what: 'with a node of its own for each disk', shared: false },
    { what: 'with one node that both disks stand on', shared: true },
  ])('$what: the base stays as long as the other disk needs it', async ({ shared }) => {
    await using lab = await Lab.open({ name: 'one of two' });
    const [source, target, second] = [
      await lab.storage('source'),
      await lab.storage('target'),
      await lab.storage('second'),
    ];
    const disks = await sharedBase(lab, source);
    const pristine = await relocated(lab, source, join(lab.folder, 'pristine'));
    const vm = await lab.startVm({
      name: 'one of two',
      boot: false,
      ...(shared
        ? { disks: [], extraArgs: oneBaseNode(source) }
        : { disks: disks.map((disk) => ({ ...disk, explicitChain: true })) }),
    });
    const stateDir = await lab.storage('state');

    const first = await migrate(vm, { stateDir, request: { to: target, disks: [{ name: 'a' }] } });

    expect(first.outcome.kind).toBe('done');
    expect(first.plan.left).toEqual([{ disk: 'b', reason: 'it was not asked for' }]);
    const base = first.plan.sourceFiles.find(({ path }) => path === join(source, 'base.raw'));
    expect(base).toMatchObject({ action: 'keep', reason: expect.stringContaining('disk b') as unknown });
    expect((await readdir(source)).toSorted()).toEqual([
      ...left('a-middle.qcow2'),
      'b-middle.qcow2',
      'b.qcow2',
      'base.raw',
    ]);
    expect((await readdir(target)).toSorted()).toEqual(['a-middle.qcow2', 'a.qcow2', 'base.raw']);

    const rest = await migrate(vm, { stateDir, request: { disks: [{ name: 'b', to: second }] } });

    expect(rest.outcome.kind).toBe('done');
    expect((await readdir(source)).toSorted()).toEqual(left('a-middle.qcow2', 'b-middle.qcow2', 'base.raw'));
    expect((await readdir(second)).toSorted()).toEqual(['b-middle.qcow2', 'b.qcow2', 'base.raw']);
    expect((await traces(vm, [])).nodes).toHaveLength(2);
    await vm.stop();
    expect(await sameDisk(lab.build, join(target, 'a.qcow2'), join(pristine, 'a.qcow2'))).toBe(true);
    expect(await sameDisk(lab.build, join(second, 'b.qcow2'), join(pristine, 'b.qcow2'))).toBe(true);
    using journal = Journal.open(stateDir, { readOnly: true });
    for (const { id } of journal.migrations()) {
      expect(journal.ledger(id, { states: ['planned', 'made'] })).toEqual([]);
    }
  });
});

test('a header that does not state the format of its backing image does so on the target', async () => {
  await using lab = await Lab.open({ name: 'unstated' });
  const [source, target] = [await lab.storage('source'), await lab.storage('target')];
  const top = join(source, 'a.qcow2');
  await lab.image({ path: join(source, 'base.raw'), format: 'raw', size: 4 * MiB, fill: { bytes: MiB, seed: 1 } });
  await lab.image({ path: top, format: 'qcow2', backing: { path: 'base.raw', format: 'raw' } });
  // qemu-img makes no such image any more, but there are old ones: the header extension gets a number that says nothing.
  const bytes = await readFile(top);
  const at = bytes.indexOf(Buffer.from([0xe2, 0x79, 0x2a, 0xca]));
  expect(at).toBeGreaterThan(0);
  bytes.writeUInt32BE(0x12345678, at);
  await writeFile(top, bytes);
  expect((await chainFacts(lab.build, top))[0]?.['backing-filename-format']).toBeUndefined();
  const vm = await lab.startVm({ name: 'unstated', boot: false, disks: [{ id: 'a', path: top, format: 'qcow2' }] });
  const { outcome } = await migrate(vm, { stateDir: await lab.storage('state'), request: { to: target } });
  expect(outcome.kind).toBe('done');
  expect((await chainFacts(lab.build, join(target, 'a.qcow2')))[0]).toMatchObject({
    'backing-filename': 'base.raw',
    'backing-filename-format': 'raw',
  });
});
