/** Mirrored snapshots of a VM of a real libvirtd: the flow of the patch, word for word, on a guest that writes all the time. */
import { execFileSync } from 'node:child_process';
import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { type LoadedVm, loadedVm } from '../../../lab/engine.ts';
import { Lab, LabDomain, LabLibvirtd } from '../../../lab/index.ts';
import { run } from '../../base/index.ts';
import { Blockferry, type Ended } from '../testing/blockferry.ts';

const MiB = 2 ** 20;
/** Not root, so that what libvirt gives to its QEMU can be told from what it does not. */
const QEMU_USER = 65_534;

let lab: Lab;
let daemon: LabLibvirtd;
let vm: LoadedVm;

function qemuImg(...args: readonly string[]): string {
  return execFileSync(lab.build.img, args, { encoding: 'utf8', env: { ...process.env, ...lab.build.env } });
}

beforeAll(async () => {
  lab = await Lab.open({ name: 'libvirt mirrored' });
  daemon = await LabLibvirtd.start(lab, { user: `+${QEMU_USER}` });
  vm = await loadedVm(lab, {
    name: 'VM2',
    sourceName: 'path1',
    targetName: 'path2',
    disks: async (source) => {
      const common = join(source, 'common');
      await lab.image({ path: common, format: 'qcow2', size: 64 * MiB, fill: { bytes: 32 * MiB, seed: 1 } });
      const path = join(source, 'old.qcow2');
      qemuImg('create', '-q', '-f', 'qcow2', '-b', 'common', '-F', 'qcow2', path);
      return [{ id: 'vda', path, format: 'qcow2' }];
    },
    writers: () => [{ disk: 'vda', seed: 1, region: { offset: 16 * MiB, length: 32 * MiB } }],
    start: async (name, disks) => {
      const domain = await LabDomain.start(lab, daemon, { name, disks, persistent: true });
      await domain.vm.booted();
      return domain.vm;
    },
  });
});
afterAll(async () => await lab[Symbol.asyncDispose]());

const blockferry = async (...args: readonly string[]): Promise<Ended> =>
  await Blockferry.run(...args, '--state-dir', vm.stateDir, ...(args[0] === 'recover' ? [] : ['-c', daemon.uri()]));
const virsh = async (...args: string[]): Promise<string> =>
  (await run('virsh', ['-q', '-c', daemon.uri(), ...args])).stdout;
/** The file of the disk, as it runs and as it is defined. */
const files = async (): Promise<string[]> =>
  (await Promise.all([virsh('domblklist', 'VM2'), virsh('domblklist', 'VM2', '--inactive')])).map(
    (text) => text.trim().split(/\s+/)[1] ?? '',
  );
const SOURCE = ['common', 'old.qcow2'];
const taken = async (): Promise<string> => (await blockferry('snapshot-list', 'VM2', '--name')).stdout.trim();

test('a mirror that somebody else ended is shown as broken, and taken back: nothing is left', async () => {
  const { source, target, writers } = vm;
  const spec = `vda,mirror=${join(target, 'new.qcow2')}`;
  const create = await blockferry('snapshot-create-as', 'VM2', 's1', '--disk-only', '--diskspec', spec);
  expect(create, create.stderr).toMatchObject({ status: 0, stdout: 'Domain snapshot s1 created\n' });
  expect((await readdir(source)).toSorted()).toEqual([...SOURCE, 'old.s1']);
  // The chain that libvirt looks at is not there yet: it gets one that is empty.
  expect((await readdir(target)).toSorted()).toEqual(['common', 'new.qcow2', 'old.qcow2']);
  await virsh('blockjob', 'VM2', 'vda', '--abort');
  expect((await blockferry('snapshot-list', 'VM2', '--mirrored')).stdout).toMatch(/ broken\n\n$/);
  const info = (await blockferry('snapshot-info', 'VM2', 's1')).stdout;
  expect(info).toContain("the mirror of 'vda' is not there any more, or failed; the guest goes on at the source");
  expect(info).toContain('snapshot-delete VM2 s1 --mirror-abort takes it back');
  const pivot = await blockferry('snapshot-delete', 'VM2', 's1', '--mirror-pivot');
  expect([pivot.status, pivot.stderr]).toEqual([1, expect.stringContaining('is not there any more, or failed')]);
  // What its user has copied meanwhile is not removed.
  execFileSync('cp', [join(source, 'common'), target]);
  const abort = await blockferry('snapshot-delete', 'VM2', '--current', '--mirror-abort');
  expect(abort, abort.stderr).toMatchObject({ status: 0, stdout: 'Domain snapshot s1 deleted\n\n' });
  expect(await files()).toEqual([join(source, 'old.qcow2'), join(source, 'old.qcow2')]);
  expect([(await readdir(source)).toSorted(), await readdir(target)]).toEqual([SOURCE, ['common']]);
  await writers[0]?.advanced(20);
  await run('rm', [join(target, 'common')]);
});

test('killed while it is taken: recover leaves all of it or nothing', async () => {
  const { source, target, writers } = vm;
  const spec = ['--diskspec', `vda,mirror=${join(target, 'new.qcow2')}`, '--state-dir', vm.stateDir];
  const dying = Blockferry.start('snapshot-create-as', 'VM2', 's2', '--disk-only', '-c', daemon.uri(), ...spec);
  while (!(await readdir(target)).includes('new.qcow2'));
  dying.kill('SIGKILL');
  await dying.ended;
  const recovered = await blockferry('recover');
  expect(recovered, recovered.stderr).toMatchObject({ status: 0 });
  if ((await taken()) !== '') {
    expect(await taken()).toBe('s2');
    expect(await blockferry('snapshot-delete', 'VM2', 's2', '--mirror-abort')).toMatchObject({ status: 0 });
  }
  expect(await files()).toEqual([join(source, 'old.qcow2'), join(source, 'old.qcow2')]);
  expect([(await readdir(source)).toSorted(), await readdir(target)]).toEqual([SOURCE, []]);
  await writers[0]?.advanced(20);
});

test('the flow of the patch: snapshot, cp, pivot', async () => {
  const { source, target, writers } = vm;
  const [file, mirror] = [join(source, 'old.migrate'), join(target, 'new.qcow2')];
  for (const path of [file, mirror]) {
    qemuImg('create', '-q', '-u', '-f', 'qcow2', '-b', 'old.qcow2', '-F', 'qcow2', path, String(64 * MiB));
  }
  const spec = ['--reuse-external', '--diskspec', `vda,file=${file},mirror=${mirror}`];
  const create = await blockferry('snapshot-create-as', 'VM2', 'migrate', '--disk-only', ...spec);
  expect(create, create.stderr).toMatchObject({ status: 0, stdout: 'Domain snapshot migrate created\n' });
  await writers[0]?.advanced(50);

  expect(await taken()).toBe('migrate');
  while (!(await blockferry('snapshot-list', 'VM2', '--mirrored')).stdout.endsWith(' disk-snapshot   ready\n\n'));
  const xml = (await blockferry('snapshot-dumpxml', 'VM2', 'migrate')).stdout;
  expect(xml).toContain(`<source file='${file}'/>`);
  expect(xml).toContain(`<mirror type='file' file='${mirror}' format='qcow2' job='copy' ready='yes'>`);
  expect(xml).toContain('<name>VM2</name>');
  expect((await blockferry('snapshot-current', 'VM2', '--name')).stdout).toBe('migrate\n');

  // Nothing else through blockferry meanwhile; libvirt itself refuses what a block job is in the way of.
  for (const argv of [
    ['snapshot-create-as', 'VM2', 's3', '--disk-only'],
    ['snapshot-revert', 'VM2', 'migrate'],
    ['migrate', 'VM2', '--to', target, '--yes'],
  ]) {
    const refused = await blockferry(...argv);
    expect([refused.status === 0, refused.stderr]).toEqual([
      false,
      expect.stringContaining("mirrored snapshot 'migrate'"),
    ]);
  }
  const neither = await blockferry('snapshot-delete', 'VM2', 'migrate');
  expect(neither.stderr).toContain("snapshot 'migrate' is mirrored: give it --mirror-pivot or --mirror-abort");
  expect(await blockferry('recover')).toMatchObject({ status: 0 });

  const pivotNow = async (): Promise<Ended> => await blockferry('snapshot-delete', 'VM2', 'migrate', '--mirror-pivot');
  expect((await pivotNow()).stderr).toContain('does not hold the same');
  execFileSync('qemu-img', ['convert', '-O', 'qcow2', join(source, 'old.qcow2'), join(target, 'old.qcow2')]);
  expect((await pivotNow()).stderr).toContain('libvirt has taken it to be');
  execFileSync('cp', [join(source, 'common'), join(source, 'old.qcow2'), `${target}/`]);
  const pivot = await pivotNow();
  expect(pivot, pivot.stderr).toMatchObject({ status: 0, stdout: 'Domain snapshot migrate deleted\n\n' });
  expect(pivot.stderr).toMatch(/guest I\/O held \d+\.\d ms \(pivot\)/);

  expect(await files()).toEqual([mirror, mirror]);
  await writers[0]?.advanced(50);
  const checks = await vm.check(() => mirror);
  expect(checks.map(({ lostCount, damagedCount }) => [lostCount, damagedCount])).toEqual([[0, 0]]);
  expect(await vm.vm.ioErrors()).toEqual([]);
  expect((await readdir(target)).toSorted()).toEqual(['common', 'new.qcow2', 'old.qcow2']);
  expect((await readdir(source)).toSorted()).toEqual(['common', 'old.migrate', 'old.qcow2']);
  expect(await taken()).toBe('');
  expect(await virsh('dumpxml', 'VM2')).not.toContain('<mirror');
  expect(await virsh('dumpxml', 'VM2', '--inactive')).not.toContain('<backingStore');
});

test('the VM ends while it stands: recover, and the definition begins with the newest data', async () => {
  const { target } = vm;
  const before = (await readdir(target)).toSorted();
  const back = await lab.storage('path3');
  const spec = `vda,mirror=${join(back, 'newer.qcow2')}`;
  const create = await blockferry('snapshot-create-as', 'VM2', 's4', '--disk-only', '--diskspec', spec);
  expect(create, create.stderr).toMatchObject({ status: 0 });
  await virsh('destroy', 'VM2');
  const pivot = await blockferry('snapshot-delete', 'VM2', 's4', '--mirror-pivot');
  expect(pivot.stderr).toContain('the disks have not been swapped: --mirror-abort ends it');
  expect(await blockferry('snapshot-delete', 'VM2', 's4', '--mirror-abort')).toMatchObject({ status: 0 });
  expect([(await readdir(target)).toSorted(), await readdir(back)]).toEqual([before, []]);
  await virsh('start', 'VM2');
  expect(await files()).toEqual([join(target, 'new.qcow2'), join(target, 'new.qcow2')]);
});
