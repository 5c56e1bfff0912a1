import { appendFile, open, readdir, rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { copying, find, listing, type Scene, scene, startSlow } from '../../lab/cli-scene.ts';
import { Lab, type LabVm } from '../../lab/index.ts';
import { type Death, MigrationProcess } from '../../lab/migration-process.ts';
import { Journal, type LedgerEntry } from '../journal/index.ts';
import { fileMark } from '../migration/file-mark.ts';
import { QmpClient } from '../qmp/index.ts';
import { Blockferry } from './testing/blockferry.ts';

/** Found by its name on the whole host, where the VMs of other tests run as well. */
const VM = 'recover me';

/** Drives a migration in a process that kills itself at this moment. @returns the id of the migration */
async function killedAt({ vm, target, state }: Scene, death: Death): Promise<string> {
  const driver = new MigrationProcess({ qmpPath: vm.qmpPath, stateDir: state, request: { to: target }, death });
  expect(await driver.outcome()).toBeUndefined();
  return driver.id;
}

/** One that was killed while it copied. @returns the id of the migration */
async function killedCopying(here: Scene): Promise<string> {
  const migration = startSlow(here);
  const id = await copying(migration);
  migration.kill('SIGKILL');
  await migration.ended;
  return id;
}

async function jobStates({ qmpPaths }: LabVm): Promise<string[]> {
  await using qmp = await QmpClient.connect({ path: qmpPaths[1] ?? '' });
  return (await qmp.execute('query-jobs')).map(({ status }) => status);
}

function unfinished(state: string): string[] {
  using journal = Journal.open(state, { readOnly: true });
  return journal.migrations({ unfinished: true }).map(({ id }) => id);
}

function live(state: string, id: string): readonly LedgerEntry[] {
  using journal = Journal.open(state, { readOnly: true });
  return journal.ledger(id, { states: ['planned', 'made'] });
}

describe('recover, while QEMU runs', () => {
  // One of each kind of hold; `takeover` dies at all the points of both swaps.
  test.each([
    [{ step: 'pivot', when: 'attached' }, 'source', 'rolled-back'],
    [{ step: 'pivot', when: 'recorded' }, 'target', 'done'],
    [{ step: 'fold', when: 'held' }, 'target', 'done'],
  ] as const)('a guest that is held is let go first: %j', async (death, side, outcome) => {
    await using lab = await Lab.open({ name: 'recover held' });
    const here = await scene(lab, `${VM} held`, { monitors: 2 });
    const before = await here.traces();
    const id = await killedAt(here, death);
    expect(await jobStates(here.vm)).toEqual(['pending', 'pending']);

    const { status, lines } = await Blockferry.json('recover', ...here.common);
    expect(status, JSON.stringify(lines.at(-1))).toBe(0);
    expect(find(lines, 'result')).toMatchObject({ outcome });
    const types = lines.map((line) => line.type);
    expect(find(lines, 'freed')).toMatchObject({ side });
    expect(types.indexOf('freed')).toBeLessThan(types.indexOf('step'));
    expect([live(here.state, id), await jobStates(here.vm)]).toEqual([[], []]);
    if (outcome === 'rolled-back') expect(await here.traces()).toEqual(before);
    else
      expect([await readdir(here.source), (await readdir(here.target)).toSorted()]).toEqual([
        [],
        ['a.qcow2', 'b.qcow2'],
      ]);
    expect(await Blockferry.run('recover', ...here.common)).toMatchObject({ status: 0, stderr: '' });
  });

  test('goes on where it was going, and back with --back; one that is driven is left alone', async () => {
    await using lab = await Lab.open({ name: 'recover goes on' });
    const here = await scene(lab, VM);
    const before = await here.traces();
    const first = await killedCopying(here);
    const plan = await Blockferry.run('plan', VM, '--to', here.target, ...here.common);
    expect(plan.status).toBe(3);
    expect(plan.stderr).toContain(`${first}, which nobody drives`);
    expect(plan.stderr).toContain(`blockferry recover ${first}`);
    expect(await Blockferry.run('recover', first, '--back', ...here.common)).toMatchObject({ status: 0, stderr: '' });
    expect(await here.traces()).toEqual(before);

    const second = await killedCopying(here);
    const recovery = Blockferry.start('recover', second.slice(0, 5), '--json', ...here.common);
    await copying(recovery);
    const driven = await Blockferry.json('recover', second, ...here.common);
    expect([driven.status, find(driven.lines, 'error')['code']]).toEqual([1, 'MIGRATION_OWNED']);
    const all = await Blockferry.run('recover', ...here.common);
    expect(all).toMatchObject({ status: 0, stderr: '' });
    expect(all.stdout).toContain(`process ${recovery.pid} drives it`);
    expect(await Blockferry.run('set-speed', second, '0', ...here.common)).toMatchObject({ status: 0 });
    expect((await recovery.ended).status).toBe(0);
    expect((await readdir(here.target)).toSorted()).toEqual(['a.qcow2', 'b.qcow2']);
  });
});

test('migrate brings what was left unfinished to its end first', async () => {
  await using lab = await Lab.open({ name: 'migrate again' });
  const here = await scene(lab, VM);
  const { source, target, state, common } = here;
  const migrations = (): string[] => {
    using journal = Journal.open(state, { readOnly: true });
    return journal.migrations().map((row) => row.state);
  };
  const again = async (to: string): Promise<string> => {
    const { status, stdout } = await Blockferry.run('migrate', VM, '--yes', '--to', to, ...common);
    expect([status, (await readdir(to)).toSorted()], stdout).toEqual([0, ['a.qcow2', 'b.qcow2']]);
    return stdout;
  };

  // It goes back, so there is still all to be done.
  const first = await killedAt(here, { step: 'pivot', when: 'held' });
  expect(await again(target)).toContain(`has an unfinished migration, ${first}, which nobody drives`);
  expect(migrations().toSorted()).toEqual(['done', 'rolled-back']);
  // It goes to where the disks are wanted, so nothing is left to be done.
  await killedAt({ ...here, target: source }, { step: 'mirror', when: 'after' });
  await again(source);
  expect(migrations().toSorted()).toEqual(['done', 'done', 'rolled-back']);
});

describe('recover, when QEMU is gone', () => {
  // The last moment before each record and the first after it; `recover-offline` dies in every step.
  test.each([
    [{ step: 'pivot', when: 'attached' }, 'rolled-back'],
    [{ step: 'pivot', when: 'recorded' }, 'done'],
    [{ step: 'fold', when: 'recorded' }, 'done'],
  ] as const)('the disks are on one side: %j', async (death, outcome) => {
    await using lab = await Lab.open({ name: 'recover gone' });
    const here = await scene(lab, `${VM} gone`);
    const before = await listing(here.source);
    const id = await killedAt(here, death);
    await here.vm.kill();
    const [holder, other] = outcome === 'done' ? [here.target, here.source] : [here.source, here.target];

    // A storage that is not mounted yet: what is not seen there is not lost, and nothing is done on the strength of it.
    await rename(holder, `${holder} elsewhere`);
    const missing = await Blockferry.json('recover', ...here.common);
    expect([missing.status, find(missing.lines, 'error')['code']]).toEqual([5, 'STORAGE_MISSING']);
    await rename(`${holder} elsewhere`, holder);

    const { status, lines } = await Blockferry.json('recover', ...here.common);
    expect([status, find(lines, 'result')['outcome']], JSON.stringify(lines)).toEqual([0, outcome]);
    expect([(await readdir(holder)).toSorted(), await readdir(other)]).toEqual([['a.qcow2', 'b.qcow2'], []]);
    if (outcome === 'rolled-back') expect(await listing(holder)).toEqual(before);
    expect([unfinished(here.state), live(here.state, id)]).toEqual([[], []]);
  });

  test('a target that is not mounted keeps its files in the ledger, for gc', async () => {
    await using lab = await Lab.open({ name: 'recover unmounted' });
    const here = await scene(lab, VM);
    const before = await listing(here.source);
    const id = await killedAt(here, { step: 'attach', when: 'after' });
    await here.vm.kill();
    await rename(here.target, `${here.target} elsewhere`);
    const recovered = await Blockferry.run('recover', ...here.common);
    expect([recovered.status, await listing(here.source)], recovered.stderr).toEqual([0, before]);
    expect(recovered.stdout).toContain('its storage is not mounted');
    const left = live(here.state, id).map(({ name }) => name);
    expect(left.toSorted()).toEqual(
      (await readdir(`${here.target} elsewhere`)).map((name) => join(here.target, name)).toSorted(),
    );
    expect((await Blockferry.run('gc', '--yes', ...here.common)).stdout).toContain('is its storage mounted?');

    await rename(`${here.target} elsewhere`, here.target);
    expect((await Blockferry.run('gc', '--yes', ...here.common)).stdout).toContain('4 files removed');
    expect([await readdir(here.target), live(here.state, id)]).toEqual([[], []]);
  });

  test('a VM that went on from old data: both versions stay until a person has chosen', async () => {
    await using lab = await Lab.open({ name: 'recover stale' });
    const here = await scene(lab, VM);
    const id = await killedCopying(here);
    await here.vm.kill();
    const image = join(here.source, 'a.qcow2');
    await appendFile(image, 'the guest wrote this');
    const again = await lab.startVm({ name: VM, boot: false, disks: [] });
    const plan = await Blockferry.json('plan', '--qmp', again.qmpPath, '--to', here.target, ...here.common);
    expect(find(plan.lines, 'error')).toMatchObject({ code: 'MIGRATION_EXISTS', fields: { id } });

    const files = await listing(here.source);
    const stale = await Blockferry.json('recover', ...here.common);
    expect(stale.status).toBe(5);
    expect(find(stale.lines, 'error')).toMatchObject({ code: 'STALE_START', fields: { image, id } });
    expect(await listing(here.source)).toEqual(files);
    const status = await Blockferry.json('status', id, ...here.common);
    expect(find(status.lines, 'migration')).toMatchObject({ state: 'attention' });

    const { overlay } = find(stale.lines, 'error')['fields'] as { overlay: string };
    await rm(overlay);
    expect(await Blockferry.run('recover', id, ...here.common)).toMatchObject({ status: 0, stderr: '' });
    expect([await readdir(here.source), await readdir(here.target)]).toEqual([['a.qcow2', 'b.qcow2'], []]);
  });
});

test('recover without an id: every migration, each in turn, and the worst status', async () => {
  await using lab = await Lab.open({ name: 'recover all' });
  const state = join(lab.folder, 'state');
  const [broken, gone, held] = [
    await scene(lab, `${VM} broken`, { state }),
    await scene(lab, `${VM} gone`, { state }),
    await scene(lab, `${VM} held`, { state, monitors: 2 }),
  ];
  const before = [await held.traces(), await listing(gone.source)];
  const first = await killedCopying(broken);
  await broken.vm.kill();
  await rename(broken.source, `${broken.source} elsewhere`);
  await killedAt(gone, { step: 'mirror', when: 'after' });
  await gone.vm.kill();
  await killedAt(held, { step: 'pivot', when: 'held' });

  const { status, stdout, stderr } = await Blockferry.run('recover', '--state-dir', state);
  expect(status).toBe(5);
  expect(stderr).toContain('which is part of its newest data, is not there');
  expect(stdout).toContain("the guest's I/O was held since somebody died; it goes on, at the source");
  expect(unfinished(state)).toEqual([first]);
  expect([await held.traces(), await listing(gone.source)]).toEqual(before);

  await rename(`${broken.source} elsewhere`, broken.source);
  expect(await Blockferry.run('recover', '--state-dir', state)).toMatchObject({ status: 0, stderr: '' });
  expect(unfinished(state)).toEqual([]);
});

test('gc removes what is in a ledger and nobody has; nothing else', async () => {
  await using lab = await Lab.open({ name: 'gc' });
  const here = await scene(lab, VM);
  const { target, common, state } = here;
  const id = await killedCopying(here);
  const copies = await readdir(target);
  expect(await Blockferry.run('gc', '--yes', ...common)).toMatchObject({ stdout: 'nothing is left over\n' });
  expect(await readdir(target)).toEqual(copies);
  expect(await Blockferry.run('recover', '--back', ...common)).toMatchObject({ status: 0 });

  const path = (name: string): string => join(target, name);
  const plant = async (name: string, mark: boolean, role = 'copy'): Promise<void> => {
    using journal = Journal.open(state);
    const { id: entry } = journal.ledgerPlan(id, { kind: 'file', name: path(name), role });
    await writeFile(path(name), 'left');
    if (mark) journal.ledgerMade(entry, await fileMark(path(name)));
  };
  for (const name of ['left', 'open', 'changed']) await plant(name, true);
  await plant('planned', false);
  await plant(`blockferry-${id}-0.overlay.qcow2`, false, 'target-overlay');
  await plant('base.raw', true);
  await lab.image({
    path: path('clone.qcow2'),
    format: 'qcow2',
    size: 2 ** 20,
    backing: { path: path('base.raw'), format: 'raw' },
  });
  await rm(path('changed'));
  await writeFile(path('changed'), 'left');
  await writeFile(path('unlisted'), 'left');
  await using _ = await open(path('open'));
  const all = await listing(target);

  const looked = await Blockferry.json('gc', ...common);
  expect([looked.status, await listing(target)]).toEqual([0, all]);
  const verdicts = looked.lines
    .filter(({ type }) => type === 'leftover')
    .map((line) => [String(line['path']).slice(target.length + 1), line['verdict'], line['why']]);
  expect(Object.fromEntries(verdicts.map(([name, verdict]) => [name, verdict]))).toEqual({
    left: 'remove',
    [`blockferry-${id}-0.overlay.qcow2`]: 'remove',
    open: 'keep',
    changed: 'keep',
    planned: 'keep',
    'base.raw': 'keep',
  });
  const why = new Map(verdicts.map(([name, , reason]) => [name, reason]));
  expect(why.get('open')).toContain(`(pid ${process.pid}) has it open`);
  expect(why.get('changed')).toContain('not the file that the migration made');
  expect(why.get('base.raw')).toContain('clone.qcow2 stands on it');

  expect((await Blockferry.run('gc', '--yes', ...common)).stdout).toContain('2 files removed');
  expect((await readdir(target)).toSorted()).toEqual([
    'base.raw',
    'changed',
    'clone.qcow2',
    'open',
    'planned',
    'unlisted',
  ]);
  expect(live(state, id).map(({ name }) => name)).toEqual(['open', 'changed', 'planned', 'base.raw'].map(path));
});
