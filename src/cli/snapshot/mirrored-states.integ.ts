import { execFileSync } from 'node:child_process';
import { readdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { copying, type Scene, scene, startSlow } from '../../../lab/cli-scene.ts';
import { Lab } from '../../../lab/index.ts';
import { QmpClient } from '../../qmp/index.ts';
import { Blockferry, type Ended } from '../testing/blockferry.ts';

/** Looked up by its name, so no other test's VM may have it. */
const VM = `mirrored ${process.pid}`;

type Run = (...args: readonly string[]) => Promise<Ended>;

function runner({ common }: Scene): Run {
  return async (...args) => await Blockferry.run(...args, ...common);
}

/** A mirrored snapshot `m` of both disks: one by its id, one by the name that libvirt would give it. */
async function mirrored(here: Scene, run: Run): Promise<void> {
  const specs = ['a', 'vdb'].map((disk) => ['--diskspec', `${disk},mirror=${join(here.target, `${disk},,new`)}`]);
  const created = await run('snapshot-create-as', VM, 'm', '--disk-only', ...specs.flat());
  expect(created, created.stderr).toMatchObject({ status: 0, stdout: 'Domain snapshot m created\n' });
}

describe('a mirrored snapshot of two disks', () => {
  test('is shown as broken when a mirror was ended behind our back, and can be taken back', async () => {
    await using lab = await Lab.open({ name: 'mirror broken' });
    const here = await scene(lab, VM, { monitors: 2 });
    const run = runner(here);
    const before = await here.traces();
    await mirrored(here, run);
    expect((await run('snapshot-dumpxml', VM, 'm', '--xpath', '//disks/disk/@name')).stdout).toBe(
      ' name="vda"\n name="vdb"\n name="hda"\n\n',
    );
    expect((await readdir(here.target)).toSorted()).toEqual(['a,new', 'vdb,new']);

    {
      await using qmp = await QmpClient.connect({ path: here.vm.qmpPaths[1] ?? '' });
      const [job] = await qmp.execute('query-jobs');
      await qmp.execute('job-cancel', { id: job?.id ?? '' });
    }
    while (!(await run('snapshot-list', VM, '--mirrored')).stdout.endsWith(' broken\n\n'));
    const info = (await run('snapshot-info', VM, 'm')).stdout;
    expect(info).toMatch(/Mirror: {9}broken\n {16}the mirror of '[ab]' is not there any more, or failed;/);
    expect(info).toContain(`snapshot-delete ${VM} m --mirror-abort takes it back`);
    const pivot = await run('snapshot-delete', VM, 'm', '--mirror-pivot');
    expect(pivot).toMatchObject({ status: 1, stdout: '\n' });
    expect(pivot.stderr).toContain('is not there any more, or failed');
    expect(await run('snapshot-delete', VM, 'm', '--mirror-abort')).toMatchObject({ status: 0 });
    expect(await here.traces()).toEqual(before);
  });

  test('goes over at one instant; without --reuse-external the overlay of the source goes', async () => {
    await using lab = await Lab.open({ name: 'mirror two' });
    const here = await scene(lab, VM);
    const run = runner(here);
    await mirrored(here, run);
    execFileSync('cp', ['a.qcow2', 'b.qcow2', here.target], { cwd: here.source });
    const pivot = await run('snapshot-delete', VM, '--current', '--mirror-pivot');
    expect(pivot, pivot.stderr).toMatchObject({ status: 0, stdout: 'Domain snapshot m deleted\n\n' });
    expect((await readdir(here.source)).toSorted()).toEqual(['a.qcow2', 'b.qcow2']);
    expect((await readdir(here.target)).toSorted()).toEqual(['a,new', 'a.qcow2', 'b.qcow2', 'vdb,new']);
    // The VM is on the target alone: what the source has left can go, and the VM can be snapshot again.
    await rm(here.source, { recursive: true });
    await using qmp = await QmpClient.connect({ path: here.vm.qmpPath });
    const nodes = await qmp.execute('query-named-block-nodes', { flat: true });
    expect(nodes.filter(({ file }) => file.startsWith(here.source))).toEqual([]);
  });

  test('when QEMU dies, recover brings the disks to where they were', async () => {
    await using lab = await Lab.open({ name: 'mirror died' });
    const here = await scene(lab, VM);
    const run = runner(here);
    await mirrored(here, run);
    expect(await run('recover')).toMatchObject({ status: 0 });
    expect((await run('snapshot-list', VM, '--name')).stdout).toBe('m\n\n');
    await here.vm.kill();
    const pivot = await run('snapshot-delete', VM, 'm', '--mirror-pivot');
    expect(pivot.stderr).toContain('the disks have not been swapped: --mirror-abort ends it');
    expect(await run('recover')).toMatchObject({ status: 0 });
    expect((await readdir(here.source)).toSorted()).toEqual(['a.qcow2', 'b.qcow2']);
    expect(await readdir(here.target)).toEqual([]);
    expect((await run('snapshot-list', VM, '--name')).stderr).toBe(`error: failed to get domain '${VM}'\n`);
  });
});

test('a migration is listed while it lasts, and is not the user’s to delete', async () => {
  await using lab = await Lab.open({ name: 'mirror listed' });
  const here = await scene(lab, VM);
  const run = runner(here);
  const migration = startSlow(here);
  const id = await copying(migration);
  expect((await run('snapshot-list', VM, '--mirrored')).stdout).toMatch(
    new RegExp(` blockferry-${id} {3}\\d{4}-.* disk-snapshot {3}copying\n`),
  );
  const deletion = await run('snapshot-delete', VM, '--current', '--mirror-abort');
  expect(deletion.stderr).toContain(`blockferry sees it through; 'blockferry abort ${id}' takes it back`);
  const second = await run('snapshot-create-as', VM, 's', '--disk-only', '--diskspec', `a,mirror=${here.target}/x`);
  expect(second.stderr).toContain(`has the mirrored snapshot 'blockferry-${id}'`);
  expect(await run('abort', id)).toMatchObject({ status: 0 });
  await migration.ended;
  expect((await run('snapshot-list', VM, '--name')).stdout).toBe('\n');
});
