import { readdir, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { copying, find, listing, scene, startSlow } from '../../lab/cli-scene.ts';
import { Lab, requirePrograms } from '../../lab/index.ts';
import { QmpClient } from '../qmp/index.ts';
import { Blockferry } from './testing/blockferry.ts';

const MiB = 2 ** 20;
requirePrograms('script');

describe('before a migration', () => {
  test('discover, plan, and every refusal: nothing is touched', async () => {
    await using lab = await Lab.open({ name: 'cli' });
    const here = await scene(lab);
    const { vm, source, target, state, common } = here;
    const before = await here.traces();

    const found = await Blockferry.json('discover', ...common);
    const mine = found.lines.find((line) => line['pid'] === vm.pid);
    expect(mine).toMatchObject({ name: 'vm 1', monitors: [{ address: vm.qmpPath, inUse: false }] });
    expect(mine?.['disks']).toMatchObject([
      { id: 'a', size: 64 * MiB, format: 'qcow2', image: join(source, 'a.qcow2'), images: 1 },
      { id: 'b' },
      { id: 'cd0', removable: true },
    ]);

    const plan = await Blockferry.json('plan', 'vm 1', '--to', target, '--disk', 'a', ...common);
    expect(plan.status).toBe(0);
    expect(find(plan.lines, 'plan')['plan']).toMatchObject({ disks: [{ id: 'a', target: join(target, 'a.qcow2') }] });
    const text = await Blockferry.run('plan', '--qmp', vm.qmpPath, '--to', target, ...common);
    expect(text.stdout).toContain('left alone: cd0: the drive is empty');

    const refused = await Blockferry.run('plan', 'vm 1', '--disk', `a=${source}`, '--disk', 'x', ...common);
    expect(refused.status).toBe(3);
    expect(refused.stderr).toMatch(/\(\d reasons\)/);
    expect(refused.stderr).toContain("vm 1 has no disk 'x'; it has: a, b, cd0");
    expect(refused.stderr).toContain('what to do: Give a folder outside of the source.');
    expect(refused.stdout).toBe('');

    for (const [args, code] of [
      [['plan', 'no such vm', '--to', target], 'NO_SUCH_VM'],
      [['plan', '--to', target], 'USAGE'],
      [['plan', 'vm 1', '--qmp', vm.qmpPath], 'USAGE'],
      [['plan', '--frobnicate'], 'USAGE'],
      [['plan', 'vm 1', '--bwlimit', 'fast'], 'BAD_SIZE'],
      [['migrate', 'vm 1', '--to', target], 'NOT_CONFIRMED'],
      [['abort', 'zzzz'], 'NO_SUCH_MIGRATION'],
    ] as const) {
      const { status, lines } = await Blockferry.json(...args, ...common);
      expect([status, find(lines, 'error')['code']]).toEqual([2, code]);
      expect(find(lines, 'result')).toMatchObject({ outcome: 'error', exitStatus: 2 });
    }
    expect(await here.traces()).toEqual(before);
    await expect(stat(state)).rejects.toMatchObject({ code: 'ENOENT' });
  });

  test('two VMs of one name, and a monitor that somebody holds', async () => {
    await using lab = await Lab.open({ name: 'cli two' });
    const one = await scene(lab, 'twin');
    const other = await lab.startVm({ name: 'twin', disks: [], boot: false });
    const { status, stderr } = await Blockferry.run('plan', 'twin', '--to', one.target, ...one.common);
    expect(status).toBe(2);
    for (const { pid, qmpPath } of [one.vm, other]) expect(stderr).toContain(`(pid ${pid}, ${qmpPath})`);
    await using holder = await QmpClient.connect({ path: one.vm.qmpPath });
    const { lines } = await Blockferry.json('discover');
    expect(holder.state).toBe('ready');
    expect(lines.find((line) => line['pid'] === one.vm.pid)).toMatchObject({
      unknown: 'another client is connected to its monitor',
    });
  });
});

describe('a migration', () => {
  test('to its end, and what the journal tells of it', async () => {
    await using lab = await Lab.open({ name: 'cli migrate' });
    const { vm, source, target, common } = await scene(lab);
    const { status, stdout, stderr } = await Blockferry.run('migrate', 'vm 1', '--to', target, '--yes', ...common);
    expect([status, stderr]).toEqual([0, '']);
    expect(stdout.match(/^guest I\/O held \d+\.\d ms$/gm)).toHaveLength(1);
    expect(await readdir(source)).toEqual([]);
    expect((await readdir(target)).toSorted()).toEqual(['a.qcow2', 'b.qcow2']);

    const listed = await Blockferry.json('list', ...common);
    const { id } = find(listed.lines, 'migration');
    expect(find(listed.lines, 'migration')).toMatchObject({ state: 'done', disks: ['a', 'b'], to: [target] });
    const shown = await Blockferry.json('status', String(id).slice(0, 4), ...common);
    expect(find(shown.lines, 'migration')).toMatchObject({ id, owner: 'none', state: 'done', vm: { name: vm.name } });
    const finished = await Blockferry.json('abort', String(id), ...common);
    expect([finished.status, find(finished.lines, 'error')['code']]).toEqual([1, 'MIGRATION_FINISHED']);
  });

  test('paused, made faster and resumed from another terminal', async () => {
    await using lab = await Lab.open({ name: 'cli pause' });
    const here = await scene(lab);
    const migration = startSlow(here);
    const id = await copying(migration);
    const second = await Blockferry.json('migrate', 'vm 1', '--to', here.target, '--yes', ...here.common);
    expect([second.status, find(second.lines, 'error')['code']]).toEqual([3, 'MIGRATION_EXISTS']);
    const paused = await Blockferry.run('pause', id, ...here.common);
    expect(paused).toMatchObject({ status: 0, stderr: '' });
    expect(paused.stdout).toContain('paused');
    const status = await Blockferry.json('status', ...here.common);
    expect(find(status.lines, 'migration')).toMatchObject({ id, owner: migration.pid });
    expect(await Blockferry.run('set-speed', id, '0', ...here.common)).toMatchObject({ status: 0 });
    expect(await Blockferry.run('resume', id, ...here.common)).toMatchObject({ status: 0 });
    expect((await migration.ended).status).toBe(0);
  });

  test('aborted from another terminal, which waits until all is as before', async () => {
    await using lab = await Lab.open({ name: 'cli abort' });
    const here = await scene(lab);
    const before = await here.traces();
    const migration = startSlow(here);
    const id = await copying(migration);
    const abort = await Blockferry.json('abort', id, ...here.common);
    expect(find(abort.lines, 'result')).toMatchObject({ outcome: 'rolled-back', exitStatus: 0 });
    expect((await migration.ended).status).toBe(4);
    expect(find(migration.lines, 'error')).toMatchObject({ code: 'ROLLED_BACK' });
    expect(await here.traces()).toEqual(before);
  });

  test.each(['SIGTERM', 'SIGINT'] as const)('without a terminal, %s rolls back', async (signal) => {
    await using lab = await Lab.open({ name: 'cli signal' });
    const here = await scene(lab);
    const before = await here.traces();
    const migration = startSlow(here);
    await copying(migration);
    migration.kill(signal);
    expect((await migration.ended).status).toBe(4);
    expect(await here.traces()).toEqual(before);
  });

  test('left by its terminal, and gone on with by resume', async () => {
    await using lab = await Lab.open({ name: 'cli hup' });
    const here = await scene(lab);
    const migration = startSlow(here);
    const id = await copying(migration);
    migration.kill('SIGHUP');
    expect((await migration.ended).status).toBe(5);
    const asked = await Blockferry.json('pause', id, ...here.common);
    expect([asked.status, find(asked.lines, 'error')['code']]).toEqual([1, 'NO_OWNER']);
    const resume = Blockferry.start('resume', id, '--json', ...here.common);
    await copying(resume);
    expect(await Blockferry.run('set-speed', id, '0', ...here.common)).toMatchObject({ status: 0 });
    expect((await resume.ended).status).toBe(0);
    expect((await readdir(here.target)).toSorted()).toEqual(['a.qcow2', 'b.qcow2']);
  });

  test('killed, and rolled back by abort', async () => {
    await using lab = await Lab.open({ name: 'cli kill' });
    const here = await scene(lab);
    const before = await here.traces();
    const migration = startSlow(here);
    const id = await copying(migration);
    migration.kill('SIGKILL');
    await migration.ended;
    expect(await Blockferry.run('abort', id, ...here.common)).toMatchObject({ status: 0, stderr: '' });
    expect(await here.traces()).toEqual(before);
  });

  test('of a VM that has ended: resume brings the disks to where it can be started from', async () => {
    await using lab = await Lab.open({ name: 'cli gone' });
    const here = await scene(lab);
    const before = await listing(here.source);
    const migration = startSlow(here);
    const id = await copying(migration);
    migration.kill('SIGKILL');
    await Promise.all([migration.ended, here.vm.kill()]);
    const { status, stderr } = await Blockferry.run('resume', id, ...here.common);
    expect(status, stderr).toBe(4);
    expect([await listing(here.source), await readdir(here.target)]).toEqual([before, []]);
  });
});

describe('on a terminal', () => {
  test('asks before it begins; Ctrl-C asks, and leaves or aborts', async () => {
    await using lab = await Lab.open({ name: 'cli pty' });
    const here = await scene(lab);
    const before = await here.traces();
    const args = ['migrate', 'vm 1', '--to', here.target, '--bwlimit', '256k', ...here.common];

    const declined = Blockferry.onTerminal(...args);
    await declined.until(({ output }) => output.includes('Begin?'));
    declined.type('n\r');
    expect((await declined.ended).status).toBe(2);
    expect(await here.traces()).toEqual(before);

    const migration = Blockferry.onTerminal(...args);
    await migration.until(({ output }) => output.includes('Begin?'));
    migration.type('y\r');
    await migration.until(({ output }) => /copying .*MiB/.test(output));
    migration.type('\u0003');
    await migration.until(({ output }) => output.includes('[l]eave it mirrored'));
    migration.type('c');
    // Said when a Ctrl-C is a signal again, and no answer.
    await migration.until(({ output }) => output.includes('going on'));
    const asked = migration.output.split('[l]eave').length;
    migration.type('\u0003');
    await migration.until(({ output }) => output.split('[l]eave').length > asked);
    migration.type('l');
    const left = await migration.ended;
    expect([left.status, left.stdout]).toEqual([5, expect.stringContaining('nobody drives the migration now')]);
    expect(left.stdout).not.toContain('undoing');
    const id = /blockferry resume (\w+)/.exec(left.stdout)?.[1] ?? '';

    const resume = Blockferry.onTerminal('resume', id, ...here.common);
    await resume.until(({ output }) => /copying .*MiB/.test(output));
    resume.type('\u0003');
    await resume.until(({ output }) => output.includes('[a]bort'));
    resume.type('\u0003');
    expect((await resume.ended).status).toBe(4);
    expect(await here.traces()).toEqual(before);
  });
});
