import { readdir, readlink } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { expect, test } from 'vitest';
import { checkChain, loadedVm, migrate, traces } from '../../lab/engine.ts';
import { chainFacts, sameDisk } from '../../lab/image-facts.ts';
import { Lab, type LabDisk, type LabVm, openChain, qemuBuilds } from '../../lab/index.ts';
import { QmpClient } from '../qmp/index.ts';
import { QemuVm } from '../vm/index.ts';

const { builds } = await qemuBuilds();
const MiB = 2 ** 20;

/** Names of the files of a folder that the VM's process has open. */
async function openIn(vm: LabVm, folder: string): Promise<string[]> {
  await using qemu = await QemuVm.connect({ path: vm.qmpPath });
  const files = (await qemu.openFiles()) ?? [];
  const names = files
    .filter(({ path }) => path.startsWith(`${folder}/`))
    .map(({ path }) => path.slice(folder.length + 1));
  return [...new Set(names)].toSorted();
}

test('a kept source is the disk as at the swap, and by the links the old command line starts the VM from the target', async () => {
  await using lab = await Lab.open({ name: 'options' });
  const loaded = await loadedVm(lab, {
    warm: [32 * MiB, 32 * MiB],
    disks: async (source) => {
      const base = { path: join(source, 'base.raw'), format: 'raw' as const };
      await lab.image({ ...base, size: 32 * MiB, fill: { bytes: 8 * MiB, seed: 1 } });
      const top = { path: join(source, 'a.qcow2'), format: 'qcow2' as const };
      await lab.image({ ...top, backing: { path: 'base.raw', format: 'raw' }, fill: { bytes: 4 * MiB, seed: 2 } });
      const raw = { path: join(source, 'b.raw'), format: 'raw' as const };
      await lab.image({ ...raw, size: 32 * MiB, fill: { bytes: 4 * MiB, seed: 3 } });
      return [
        { id: 'a', ...top },
        { id: 'b', ...raw },
      ];
    },
    writers: (disks) =>
      disks.map(({ id }, n) => ({ disk: id, seed: n + 1, rate: 100, region: { offset: 2 * MiB, length: 12 * MiB } })),
  });
  const { vm, source, target, stateDir, writers, pristine } = loaded;
  const third = await lab.storage('third');

  // As slow as is asked for: 12 MiB and more are copied at 8 MiB/s, and read back under the same limit.
  const swap: number[] = [];
  const began = performance.now();
  const { outcome, plan, events } = await migrate(vm, {
    stateDir,
    request: { to: target, keepSource: true, leaveLink: true, bandwidth: 8 * MiB },
    watch: (_, event) => {
      if (event?.type === 'step' && event.step === 'attach' && event.state === 'done') {
        for (const writer of writers) swap.push(writer.acknowledged);
      }
    },
  });
  expect(outcome.kind, JSON.stringify(events.filter(({ type }) => type === 'failed'))).toBe('done');
  const bytes = plan.copies.reduce((sum, { allocated }) => sum + allocated, 0);
  expect(performance.now() - began).toBeGreaterThan((1000 * bytes) / (8 * MiB));
  const kept = (name: string): string => join(source, `${name}.moved-${plan.id}`);
  expect((await readdir(source)).toSorted()).toEqual(
    ['a.qcow2', `a.qcow2.moved-${plan.id}`, 'b.raw', `b.raw.moved-${plan.id}`, 'base.raw'].toSorted(),
  );
  for (const name of ['a.qcow2', 'b.raw']) expect(await readlink(join(source, name))).toBe(join(target, name));

  const after = writers.map(({ acknowledged }) => acknowledged);
  await Promise.all(writers.map((writer) => writer.advanced(20)));
  const checks = await loaded.check(({ path = '' }) => path);
  for (const [n, name] of ['a.qcow2', 'b.raw'].entries()) {
    const format = name === 'a.qcow2' ? 'qcow2' : 'raw';
    await using before = await openChain(join(pristine, name), format);
    const record = { ...writers[n]?.record(), acknowledged: swap[n] ?? 0, begun: (after[n] ?? 0) + 1 };
    const check = await checkChain({ path: kept(name), format }, record as never, (offset, length) =>
      before.read(offset, length),
    );
    expect([check.acknowledged > 50, check.lostCount, check.damagedCount], name).toEqual([true, 0, 0]);
    expect(checks[n], name).toMatchObject({ lostCount: 0, damagedCount: 0 });
    // The guest went on.
    expect(await sameDisk(lab.build, kept(name), join(target, name)), name).toBe(false);
  }
  await vm.stop();

  const again = await loadedAgain(
    lab,
    vm,
    loaded.writers.map(({ disk }) => disk),
  );
  expect(await again.ioErrors()).toEqual([]);
  expect(await openIn(again, target)).toEqual(['a.qcow2', 'b.raw', 'base.raw']);
  expect(await openIn(again, source)).toEqual([]);

  // A raw image and an overlay cannot be opened in the same way, so a link would start the VM on rubbish.
  await expect(
    migrate(again, { stateDir, request: { to: third, leaveLink: true, fold: false } }),
  ).rejects.toMatchObject({ details: { refusals: [{ code: 'LINK_FORMAT' }] } });
  // Without the fold the overlay is the disk, and the link leads there; nothing is read back.
  const writer = await again.startWriter({
    disk: 'a',
    seed: 9,
    rate: 100,
    region: { offset: 16 * MiB, length: 12 * MiB },
  });
  await writer.advanced(20);
  const unfolded = await migrate(again, {
    stateDir,
    request: { to: third, disks: [{ name: 'a' }], leaveLink: true, fold: false, verify: false },
  });
  expect(unfolded.outcome.kind).toBe('done');
  expect(unfolded.events.some(({ type }) => type === 'verified')).toBe(false);
  const [disk] = unfolded.plan.disks;
  const overlay = disk?.targetOverlay ?? '';
  expect(await readlink(join(source, 'a.qcow2'))).toBe(overlay);
  expect((await chainFacts(lab.build, overlay)).map(({ filename }) => filename)).toEqual([
    overlay,
    join(third, 'a.qcow2'),
    join(third, 'base.raw'),
  ]);
  await writer.advanced(20);
  const record = await writer.stop();
  await again.stop();
  const last = await lab.startVm({ name: vm.name, disks: vm.disks, boot: false });
  expect(await openIn(last, third)).toEqual(['a.qcow2', basename(overlay), 'base.raw'].toSorted());
  const check = await checkChain({ path: join(source, 'a.qcow2'), format: 'qcow2' }, record);
  expect([check.acknowledged > 30, check.lostCount]).toEqual([true, 0]);
});

/** Starts a VM with its own old command line, and waits until its guest answers. */
async function loadedAgain(lab: Lab, vm: LabVm, ids: readonly string[]): Promise<LabVm> {
  const again = await lab.startVm({ name: vm.name, disks: vm.disks });
  await again.booted();
  expect([...again.devices.keys()]).toEqual(ids);
  return again;
}

test('there and back again: cache, aio, discard and detect-zeroes are kept, also by the second migration', async () => {
  await using lab = await Lab.open({ name: 'settings' });
  const [source, target] = [await lab.storage('source'), await lab.storage('target')];
  const stateDir = await lab.storage('state');
  const SETTINGS = {
    native: { direct: true, detectZeroes: 'off', discard: 'ignore', aio: 'native' },
    unmap: { direct: false, detectZeroes: 'unmap', discard: 'unmap', aio: 'threads' },
    drive: { direct: true, detectZeroes: 'on', discard: 'unmap', aio: 'io_uring' },
  } as const;
  const disks: LabDisk[] = [];
  const args: string[] = [];
  for (const [id, { direct, detectZeroes, discard, aio }] of Object.entries(SETTINGS)) {
    const path = join(source, `${id}.qcow2`);
    await lab.image({ path, format: 'qcow2', size: 4 * MiB, fill: { bytes: MiB, seed: 1 } });
    disks.push({ id, path, format: 'qcow2' });
    if (id === 'drive') {
      const options = `format=qcow2,if=none,id=drive-${id},cache=none,detect-zeroes=${detectZeroes},discard=${discard},aio=${aio}`;
      args.push('-drive', `file=${path},${options}`, '-device', `virtio-blk-pci,id=${id},drive=drive-${id}`);
      continue;
    }
    const cache = { direct, 'no-flush': false };
    const file = { driver: 'file', filename: path, aio, cache, discard: 'unmap' };
    const node = { driver: 'qcow2', 'node-name': `n-${id}`, file, cache, discard, 'detect-zeroes': detectZeroes };
    args.push('-blockdev', JSON.stringify(node));
    const device = { driver: 'virtio-blk-pci', id, drive: `n-${id}` };
    args.push('-device', id === 'native' ? JSON.stringify(device) : `virtio-blk-pci,id=${id},drive=n-${id}`);
  }
  const vm = await lab.startVm({ name: 'settings', boot: false, disks: [], extraArgs: args });

  /** What blockferry takes the settings for, and of them what QEMU itself shows. */
  const settings = async (): Promise<object> => {
    await using qemu = await QemuVm.connect({ path: vm.qmpPath });
    const { disks: found } = await qemu.inventory();
    await qemu[Symbol.asyncDispose]();
    await using qmp = await QmpClient.connect({ path: vm.qmpPath });
    const shown = await qmp.execute('query-block');
    return Object.fromEntries(
      found.map((disk) => {
        const block = shown.find(({ device, qdev }) => device === disk.id || qdev?.includes(`/${disk.id}/`));
        expect(block?.inserted?.cache).toMatchObject({ direct: disk.settings.direct, 'no-flush': false });
        expect(block?.inserted?.detect_zeroes).toBe(disk.settings.detectZeroes);
        return [disk.id.replace('drive-', ''), disk.settings];
      }),
    );
  };
  expect(await settings()).toEqual(SETTINGS);
  for (const [from, to] of [
    [source, target],
    [target, source],
    [source, target],
  ] as const) {
    const { outcome, events } = await migrate(vm, { stateDir, request: { to } });
    expect(outcome.kind, JSON.stringify(events.filter(({ type }) => type === 'failed'))).toBe('done');
    expect(await readdir(from)).toEqual([]);
    expect((await readdir(to)).toSorted()).toEqual(disks.map(({ id }) => `${id}.qcow2`).toSorted());
    expect(await settings()).toEqual(SETTINGS);
    expect((await traces(vm, [])).nodes).toHaveLength(3);
  }
});

test.each(builds)('disks with I/O threads and event indices are known, QEMU $version', async (build) => {
  await using lab = await Lab.open({ name: 'threads', build });
  const path = join(await lab.storage('source'), 'image.raw');
  await lab.image({ path, format: 'raw', size: MiB });
  const DEVICES = {
    own: 'virtio-blk-pci,event_idx=on,iothread=io',
    mended: 'virtio-blk-pci,event_idx=off,iothread=io',
    plain: 'virtio-blk-pci,event_idx=on',
    controlled: 'scsi-hd,bus=threaded.0',
    slow: 'scsi-hd,bus=plain-controller.0',
  };
  const args = ['-object', 'iothread,id=io'];
  args.push('-device', 'virtio-scsi-pci,id=threaded,iothread=io', '-device', 'virtio-scsi-pci,id=plain-controller');
  for (const [id, device] of Object.entries(DEVICES)) {
    const node = { driver: 'raw', 'node-name': `n-${id}`, 'read-only': true, file: { driver: 'file', filename: path } };
    args.push('-blockdev', JSON.stringify(node), '-device', `${device},id=${id},drive=n-${id}`);
  }
  const vm = await lab.startVm({ name: 'threads', boot: false, disks: [], extraArgs: args });
  await using qemu = await QemuVm.connect({ path: vm.qmpPath });
  const { disks } = await qemu.inventory();
  expect(disks.filter(({ threaded }) => threaded).map(({ id }) => id)).toEqual(['own', 'controlled']);
});
