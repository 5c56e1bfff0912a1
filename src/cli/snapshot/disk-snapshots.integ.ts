import { execFileSync } from 'node:child_process';
import { open, readdir, readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { scene } from '../../../lab/cli-scene.ts';
import { loadedVm, traces } from '../../../lab/engine.ts';
import { Lab } from '../../../lab/index.ts';
import { dieTakingSnapshot } from '../../../lab/snapshot-child.ts';
import { QmpClient } from '../../qmp/index.ts';
import { QemuVm } from '../../vm/index.ts';
import { Blockferry, type Ended } from '../testing/blockferry.ts';
import { type KeptOutcome, type KeptPlace, keptCommand } from '../testing/kept-command.ts';

const MiB = 2 ** 20;
/** Looked up by its name, so no other test's VM may have it. */
const VM = `plain ${process.pid}`;

function qemuImg({ build }: Lab, ...args: readonly string[]): string {
  return execFileSync(build.img, args, { encoding: 'utf8', env: { ...process.env, ...build.env } });
}

/** The files of a disk's chain as the VM has them open, the active one first. */
async function chainOf(place: KeptPlace, disk: string): Promise<readonly (string | undefined)[]> {
  await using vm = await place.connect();
  const { disks } = (await vm?.inventory()) ?? { disks: [] };
  return disks.find(({ id }) => id === disk)?.images.map(({ path }) => path) ?? [];
}

describe('snapshots without mirrors of a VM over QMP', () => {
  test('are taken of all disks at one instant, and what was told to be written is never lost', async () => {
    await using lab = await Lab.open({ name: 'plain snapshots' });
    const here = await loadedVm(lab, {
      name: VM,
      sourceName: 'path 1 ü',
      warm: [32 * MiB, 32 * MiB],
      disks: async (source) => {
        const [a, b] = [join(source, 'a.qcow2'), join(source, 'b.raw')];
        await lab.image({ path: a, format: 'qcow2', size: 32 * MiB, fill: { bytes: 8 * MiB, seed: 1 } });
        await lab.image({ path: b, format: 'raw', size: 32 * MiB, fill: { bytes: 8 * MiB, seed: 2 } });
        return [
          { id: 'vda', path: a, format: 'qcow2' },
          { id: 'vdb', path: b, format: 'raw' },
        ];
      },
      writers: (disks) =>
        disks.map(({ id }, n) => ({ disk: id, seed: n + 1, rate: 40, region: { offset: 4 * MiB, length: 24 * MiB } })),
    });
    const { vm, source, target, stateDir, writers } = here;
    const blockferry = async (...args: readonly string[]): Promise<Ended> =>
      await Blockferry.run(...args, '--state-dir', stateDir);
    const place: KeptPlace = { vm: VM, stateDir, connect: async () => await QemuVm.connect({ path: vm.qmpPath }) };
    const run = async (...argv: readonly string[]): Promise<KeptOutcome> => await keptCommand(place, ...argv);
    const files = async (): Promise<readonly string[]> => (await readdir(source)).toSorted();
    const names = async (): Promise<string> => (await run('snapshot-list', '--name')).stdout.trim();
    const written = async (): Promise<void> => void (await Promise.all(writers.map((writer) => writer.advanced(20))));
    const [a, b] = [join(source, 'a.qcow2'), join(source, 'b.raw')];

    const s1 = await blockferry('snapshot-create-as', VM, 's1', 'the first', '--disk-only', '--atomic');
    expect(s1, s1.stderr).toMatchObject({ status: 0, stdout: 'Domain snapshot s1 created\n' });
    expect(s1.stderr).toContain('from its next start on the VM has to be started from there');
    expect(await files()).toEqual(['a.qcow2', 'a.s1', 'b.raw', 'b.s1']);
    expect(await chainOf(place, 'vda')).toEqual([join(source, 'a.s1'), a]);
    expect(await chainOf(place, 'vdb')).toEqual([join(source, 'b.s1'), b]);
    const [frozen] = [await readFile(a)];
    await written();
    expect((await readFile(a)).equals(frozen)).toBe(true);
    const header = JSON.parse(qemuImg(lab, 'info', '-U', '--output=json', join(source, 'b.s1'))) as object;
    expect(header).toMatchObject({ 'backing-filename': b, 'backing-filename-format': 'raw' });

    expect((await run('snapshot-list', '--disk-only')).stdout).toMatch(/ s1 +\d{4}-.* disk-snapshot\n/);
    expect((await run('snapshot-current', '--name')).stdout).toBe('s1\n');
    expect((await run('snapshot-info', 's1')).stdout).toMatch(/State: {10}disk-snapshot\n.*\nParent: {9}-\n/);
    const sources = await run('snapshot-dumpxml', 's1', '--xpath', '/domainsnapshot/disks/disk/source/@file');
    expect(sources.stdout).toBe(` file="${join(source, 'a.s1')}"\n file="${join(source, 'b.s1')}"\n\n`);

    // Of one that fails nothing is left, and the error names the disk.
    const before = await traces(vm, [source]);
    const gone = join(source, 'no folder', 'x');
    const failed = await run('snapshot-create-as', 'sx', '--disk-only', '--diskspec', `vdb,file=${gone}`);
    expect(failed).toMatchObject({ exitStatus: 1, stdout: '\n' });
    expect(failed.stderr).toContain("disk 'vdb': ");
    expect(failed.stderr).toContain('the guest goes on as before, and nothing is left of it');
    const taken = await run('snapshot-create-as', 'sx', '--disk-only', '--diskspec', `vda,file=${b}`);
    expect(taken.stderr).toContain('external snapshot file for disk vda already exists and is not a block device');
    const unlucky = async (): Promise<QemuVm> => {
      const qemu = await QemuVm.connect({ path: vm.qmpPath });
      const take = qemu.snapshot.bind(qemu);
      // QEMU has opened the first one by then.
      qemu.snapshot = async (overlays) => await rm(overlays[1]?.path ?? '').then(async () => await take(overlays));
      return qemu;
    };
    const refused = await keptCommand({ ...place, connect: unlucky }, 'snapshot-create-as', 'sx', '--disk-only');
    expect(refused.stderr).toContain("error: operation failed: disk 'vdb': QEMU refused 'blockdev-add'");
    expect(await traces(vm, [source])).toEqual(before);

    // Killed with the files made, and with QEMU having taken them.
    const order = { qmpPath: vm.qmpPath, stateDir, vm: VM };
    await dieTakingSnapshot({ ...order, name: 's2', dies: 'before' });
    expect(await files()).toContain('b.s2');
    const moving = await blockferry('migrate', VM, '--to', target, '--yes');
    expect(moving.stderr).toContain("blockferry keeps the snapshot 's1', which names its files");
    const list = await run('snapshot-list', '--name');
    expect(list.stdout).toBe('s1\n\n');
    expect(list.warnings).toEqual(["whoever took the snapshot 's2' died: it was not taken"]);
    expect(await traces(vm, [source])).toEqual(before);

    await dieTakingSnapshot({ ...order, name: 's3', dies: 'after' });
    await written();
    const recovered = await blockferry('recover');
    expect(recovered, recovered.stderr).toMatchObject({ status: 0 });
    expect(recovered.stdout + recovered.stderr).toContain(`the snapshot 's3' of ${VM} was taken, and is recorded`);
    expect(await names()).toBe('s1\ns3');
    expect((await run('snapshot-parent', 's3')).stdout).toBe('s1\n');

    // Prepared by the user, of one disk, with a relative name.
    const own = join(source, 'own');
    const spec = ['--disk-only', '--reuse-external', '--diskspec', `vda,file=${own}`, '--diskspec', 'vdb,snapshot=no'];
    const create = ['create', '-q', '-u', '-f', 'qcow2', '-b', 'a.s3', '-F', 'qcow2', own];
    qemuImg(lab, ...create, String(31 * MiB));
    expect((await run('snapshot-create-as', 's4', ...spec)).stderr).toContain(`${own} does not fit: it has a size`);
    qemuImg(lab, ...create, String(32 * MiB));
    const s4 = await run('snapshot-create-as', 's4', ...spec);
    expect(s4, s4.stderr).toMatchObject({ exitStatus: 0 });
    expect(await chainOf(place, 'vda')).toEqual([own, join(source, 'a.s3'), join(source, 'a.s1'), a]);
    expect(await chainOf(place, 'vdb')).toEqual(['s3', 's1'].map((name) => join(source, `b.${name}`)).concat(b));
    await written();

    expect((await run('snapshot-delete', 's3')).stderr).toContain('only their metadata can be deleted');
    expect(await run('snapshot-delete', 's3', '--metadata')).toMatchObject({ exitStatus: 0 });
    expect((await run('snapshot-parent', 's4')).stdout).toBe('s1\n');

    expect(await vm.ioErrors()).toEqual([]);

    // And at last QEMU dies, too.
    await dieTakingSnapshot({ ...order, name: 's5', dies: 'after' });
    await written();
    await vm.kill();
    const last = [join(source, 'own.s5'), join(source, 'b.s5')];
    expect((await blockferry('recover')).stdout).toContain(
      `it was taken; the VM has to be started from ${last.join(', ')}`,
    );
    expect(await names()).toBe('s1\ns4\ns5');
    const checks = await here.check(({ id }) => last[id === 'vda' ? 0 : 1] ?? '');
    expect(checks.map(({ lostCount, damagedCount }) => [lostCount, damagedCount])).toEqual([
      [0, 0],
      [0, 0],
    ]);
  });

  test('of one that was begun nothing is left; when QEMU has died as well, what was written tells', async () => {
    await using lab = await Lab.open({ name: 'plain died' });
    const name = `${VM} died`;
    const here = await scene(lab, name);
    const order = { qmpPath: here.vm.qmpPath, stateDir: here.state, vm: name };
    const before = await here.traces();
    const place: KeptPlace = {
      vm: name,
      stateDir: here.state,
      connect: async () => await QemuVm.connect({ path: here.vm.qmpPath }),
    };
    await dieTakingSnapshot({ ...order, name: 's0', dies: 'making' });
    expect(await readdir(here.source)).toContain('a.s0');
    const shown = await Blockferry.run('status', ...here.common);
    expect(shown.stdout).toContain(`snapshot s0 of ${name}\n  state     begun, and nobody takes it any more`);
    expect(shown.stdout).toContain(`${join(here.source, 'a.s0')} (a)`);
    // A process that does not know yet has it open.
    {
      await using _ = await open(join(here.source, 'a.s0'));
      const doubt = await keptCommand(place, 'snapshot-list', '--name');
      expect(doubt.stderr).toContain(`the file ${join(here.source, 'a.s0')} is open in another process`);
    }
    const none = await keptCommand(place, 'snapshot-list', '--name');
    expect(none).toMatchObject({ stdout: '\n', exitStatus: 0 });
    expect(none.warnings).toEqual(["whoever took the snapshot 's0' died: it was not taken"]);
    expect(await here.traces()).toEqual(before);

    await dieTakingSnapshot({ ...order, name: 's1', dies: 'after' });
    {
      // Nobody can say whether it was taken while its QEMU runs and does not answer.
      await using _ = await QmpClient.connect({ path: here.vm.qmpPath });
      const connect = async (): Promise<QemuVm> =>
        await QemuVm.connect({ path: here.vm.qmpPath }, { signal: AbortSignal.timeout(300) });
      const doubt = await keptCommand({ ...place, connect }, 'snapshot-list');
      expect(doubt).toMatchObject({ stdout: '\n', exitStatus: 1 });
      expect(doubt.stderr).toContain(`whether the snapshot 's1' of '${name}' was taken cannot be found out now`);
    }
    await here.vm.kill();
    const written = join(here.source, 'b.s1');
    execFileSync(lab.build.io, ['-f', 'qcow2', '-c', 'write 0 64k', written], {
      env: { ...process.env, ...lab.build.env },
    });
    const list = await Blockferry.run('snapshot-list', name, '--name', ...here.common);
    expect(list.stdout).toBe('s1\n\n');
    expect(list.stderr).toContain(
      `it was taken; the VM has to be started from ${join(here.source, 'a.s1')}, ${written}`,
    );
    expect((await readdir(here.source)).toSorted()).toEqual(
      ['qcow2', 's1'].flatMap((suffix) => [`a.${suffix}`, `b.${suffix}`]).toSorted(),
    );
  });
});
