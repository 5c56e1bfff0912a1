import { execFileSync } from 'node:child_process';
import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { type LoadedVm, loadedVm, traces } from '../../../lab/engine.ts';
import { Lab, type LabDisk } from '../../../lab/index.ts';
import { Blockferry, type Ended } from '../testing/blockferry.ts';

const MiB = 2 ** 20;

/** Storages with blanks in their names, and `old.qcow2` on `common` as in the patch. */
async function chain(lab: Lab, source: string): Promise<LabDisk[]> {
  const common = join(source, 'common');
  await lab.image({ path: common, format: 'qcow2', size: 64 * MiB, fill: { bytes: 32 * MiB, seed: 1 } });
  const path = join(source, 'old.qcow2');
  qemuImg(lab, 'create', '-q', '-f', 'qcow2', '-b', 'common', '-F', 'qcow2', path);
  return [{ id: 'vda', path, format: 'qcow2' }];
}

function qemuImg({ build }: Lab, ...args: readonly string[]): string {
  return execFileSync(build.img, args, { encoding: 'utf8', env: { ...process.env, ...build.env } });
}

const open = async (lab: Lab): Promise<LoadedVm> =>
  await loadedVm(lab, {
    name: 'VM',
    sourceName: 'path1',
    targetName: 'path2',
    disks: async (source) => await chain(lab, source),
    writers: () => [{ disk: 'vda', seed: 1, region: { offset: 16 * MiB, length: 32 * MiB } }],
  });

/** The two files of the patch, prepared by hand; the mirror's backing file is not there yet. */
function prepare(lab: Lab, { source, target }: LoadedVm): { file: string; mirror: string } {
  const [file, mirror] = [join(source, 'old.migrate'), join(target, 'new.qcow2')];
  for (const path of [file, mirror]) {
    qemuImg(lab, 'create', '-q', '-u', '-f', 'qcow2', '-b', 'old.qcow2', '-F', 'qcow2', path, String(64 * MiB));
  }
  return { file, mirror };
}

const DONE = { status: 0, stderr: '' };

describe('the flow of the patch', () => {
  test('word for word: snapshot, cp, pivot', async () => {
    await using lab = await Lab.open({ name: 'mirrored flow' });
    const vm = await open(lab);
    const { source, target, stateDir, writers } = vm;
    const blockferry = async (...args: readonly string[]): Promise<Ended> =>
      await Blockferry.run(...args, '--state-dir', stateDir);
    const { file, mirror } = prepare(lab, vm);
    const spec = `vda,file=${file},mirror=${mirror}`;
    const create = ['snapshot-create-as', 'VM', 'migrate', '--disk-only', '--reuse-external', '--diskspec', spec];

    expect(await blockferry(...create)).toMatchObject({ status: 0, stdout: 'Domain snapshot migrate created\n' });
    await writers[0]?.advanced(50);

    expect((await blockferry('snapshot-list', 'VM', '--name')).stdout).toBe('migrate\n\n');
    expect((await blockferry('snapshot-list', 'VM', '--mirrored')).stdout).toMatch(
      /^ Name {6}Creation Time {15}State {11}Mirror\n-+\n migrate {3}\d{4}-.* disk-snapshot {3}(?:copying|ready)\n\n$/,
    );
    const xml = (await blockferry('snapshot-dumpxml', 'VM', 'migrate', '--xpath', '//disks/disk')).stdout;
    expect(xml).toContain(`<source file="${file}"/>`);
    expect(xml).toMatch(/<mirror type="file" file="[^"]*new\.qcow2" format="qcow2" job="copy"(?: ready="yes")?>/);

    // Nothing else through blockferry meanwhile.
    const second = await blockferry('snapshot-create-as', 'VM', 's2', '--disk-only', '--diskspec', spec);
    expect(second).toMatchObject({ status: 1, stdout: '\n' });
    expect(second.stderr).toContain("has the mirrored snapshot 'migrate': give it --mirror-pivot or --mirror-abort");
    const other = await blockferry('migrate', 'VM', '--to', target, '--yes');
    expect(other.status).toBe(3);
    expect(other.stderr).toContain("the mirrored snapshot 'migrate'");
    expect(await blockferry('snapshot-delete', 'VM', 'migrate')).toMatchObject({
      status: 1,
      stderr:
        "error: Failed to delete snapshot migrate\nerror: Requested operation is not valid: snapshot 'migrate' is mirrored: give it --mirror-pivot or --mirror-abort\n",
    });
    // Recovery has nothing to do with it.
    expect(await blockferry('recover')).toMatchObject({ status: 0 });

    // The user has not copied yet, then only a part.
    const early = await blockferry('snapshot-delete', 'VM', 'migrate', '--mirror-pivot');
    expect(early.stderr).toContain("the chain below the mirror of 'vda' is not a copy of the source's");
    expect(early.stderr).toContain('old.qcow2');
    execFileSync('cp', [join(source, 'old.qcow2'), join(source, 'common'), `${target}/`]);
    qemuImg(lab, 'rebase', '-q', '-u', '-f', 'qcow2', '-b', '', join(target, 'old.qcow2'));
    const partly = await blockferry('snapshot-delete', 'VM', 'migrate', '--mirror-pivot');
    expect(partly.stderr).toContain('does not hold the same');
    execFileSync('cp', [join(source, 'old.qcow2'), `${target}/`]);
    const pivot = await blockferry('snapshot-delete', 'VM', 'migrate', '--mirror-pivot');
    expect(pivot, pivot.stderr).toMatchObject({ status: 0, stdout: 'Domain snapshot migrate deleted\n\n' });
    expect(pivot.stderr).toMatch(/guest I\/O held \d+\.\d ms \(pivot\)/);

    await writers[0]?.advanced(50);
    const checks = await vm.check(() => mirror);
    expect(checks.map(({ lostCount, damagedCount }) => [lostCount, damagedCount])).toEqual([[0, 0]]);
    expect(await vm.vm.ioErrors()).toEqual([]);
    expect((await readdir(target)).toSorted()).toEqual(['common', 'new.qcow2', 'old.qcow2']);
    expect((await readdir(source)).toSorted()).toEqual(['common', 'old.migrate', 'old.qcow2']);
    const backing = JSON.parse(qemuImg(lab, 'info', '-U', '--output=json', mirror)) as Record<string, unknown>;
    expect(backing['backing-filename']).toBe('old.qcow2');
    expect((await traces(vm.vm, [])).jobs).toEqual([]);
    expect(await blockferry('snapshot-list', 'VM', '--name')).toMatchObject({ ...DONE, stdout: '\n' });
  });

  test('abort: the guest goes on where it was; files that blockferry made are gone', async () => {
    await using lab = await Lab.open({ name: 'mirrored abort' });
    const vm = await open(lab);
    const { source, target, stateDir, writers } = vm;
    const blockferry = async (...args: readonly string[]): Promise<Ended> =>
      await Blockferry.run(...args, '--state-dir', stateDir);
    const before = await traces(vm.vm, [source, target]);
    const mirror = join(target, 'new.qcow2');

    // No source is given: its name is made as libvirt makes it.
    const create = await blockferry(
      'snapshot-create-as',
      'VM',
      's1',
      '--disk-only',
      '--diskspec',
      `vda,mirror=${mirror}`,
    );
    expect(create, create.stderr).toMatchObject({ status: 0 });
    expect((await readdir(source)).toSorted()).toEqual(['common', 'old.qcow2', 'old.s1']);
    await writers[0]?.advanced(50);

    const abort = await blockferry('snapshot-delete', 'VM', '--current', '--mirror-abort');
    expect(abort, abort.stderr).toMatchObject({ status: 0, stdout: 'Domain snapshot s1 deleted\n\n' });
    expect(await traces(vm.vm, [source, target])).toEqual(before);
    await writers[0]?.advanced(50);
    const checks = await vm.check(({ path = '' }) => path);
    expect(checks.map(({ lostCount, damagedCount }) => [lostCount, damagedCount])).toEqual([[0, 0]]);
  });
});
