import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { BareVm } from '../../../lab/bare-vm.ts';
import { DEFAULT_REQUEST, makePlan, Migration, takeSurvey } from '../index.ts';
import { Lab } from '../../../lab/index.ts';
import { MigrationProcess } from '../../../lab/migration-process.ts';
import { ferryError, isFerryError, run } from '../../base/index.ts';
import { Journal } from '../../journal/index.ts';
import { QemuVm } from '../../vm/index.ts';
import type { Host } from '../host.ts';
import { realHost } from '../real-host.ts';
import { recoverOffline } from './recover-offline.ts';

/** What is done to an image by a VM that was started from it by mistake. */
async function writtenBehindOurBack(lab: Lab, path: string): Promise<void> {
  await run(lab.build.io, ['-f', 'qcow2', '-c', 'write -P 99 20M 64k', path]);
}

const codeOf = async (work: Promise<unknown>): Promise<unknown> =>
  await work.then(
    () => 'no error',
    (error: unknown) => (isFerryError(error) ? error.code : error),
  );

/** The journal, whose file system fails in the very commit of a record: it is in the file, nobody sees it, nothing goes after it. */
function failingAtTheRecord(journal: Journal): Journal {
  let failed = false;
  const fail = (): never => {
    throw ferryError('JOURNAL_OUTCOME', { path: journal.dir, reason: 'a failure was wanted' });
  };
  return new Proxy(journal, {
    get: (target, name) => {
      const value: unknown = Reflect.get(target, name);
      if (typeof value !== 'function') return value;
      if (name === 'writeCommitRecord') {
        return (...args: Parameters<Journal['writeCommitRecord']>) => {
          target.writeCommitRecord(...args);
          failed = true;
          fail();
        };
      }
      if (name === 'commitRecord') return () => undefined;
      const reads = ['migration', 'steps', 'ledger', 'quiesce'].includes(String(name));
      return (...args: unknown[]): unknown => (failed && !reads ? fail() : Reflect.apply(value, target, args));
    },
  });
}

test('a record of which nobody knows whether it counts does not, when its revocation could not be written either', async () => {
  await using lab = await Lab.open({ name: 'doubt' });
  const here = await BareVm.start(lab);
  const { vm, source, target, stateDir } = here;
  {
    using journal = Journal.open(stateDir);
    await using qemu = await QemuVm.connect({ path: vm.qmpPath });
    const { plan } = makePlan(await takeSurvey(qemu, { ...DEFAULT_REQUEST, to: target }));
    if (plan === undefined) throw new Error('refused');
    await using migration = await Migration.begin(plan, { vm: qemu, journal: failingAtTheRecord(journal) });
    const outcome = await migration.run();
    expect(outcome).toMatchObject({ kind: 'attention', cause: { code: 'JOURNAL_OUTCOME' } });
    expect(outcome.message).toContain('everything stays as it is now');
  }
  // The guest was let go, at the source, and goes on writing there; then everything dies.
  await here.write('a', 7);
  await vm.kill();
  using journal = Journal.open(stateDir);
  const [left] = journal.migrations({ unfinished: true });
  const id = left?.id ?? '';
  expect(journal.commitRecord(id, 'pivot')).toBeDefined();
  expect(await readdir(target)).toContain(`blockferry-${id}-pivot.void`);

  expect(await recoverOffline(id, { journal })).toMatchObject({ kind: 'rolled-back' });
  expect(journal.commitRecord(id, 'pivot')).toBeUndefined();
  expect([(await readdir(source)).toSorted(), await readdir(target), here.left(id)]).toEqual([
    ['a.qcow2', 'b.qcow2'],
    [],
    [],
  ]);
  await here.holds(source, { a: [7] });
});

describe('a VM that is started before recovery', () => {
  test('is noticed also where the images could not be stamped', async () => {
    await using lab = await Lab.open({ name: 'unstamped' });
    const here = await BareVm.start(lab);
    const { vm, source, target, stateDir } = here;
    const order = { qmpPath: vm.qmpPath, stateDir, request: { to: target } };
    const driver = new MigrationProcess({ ...order, death: { step: 'snapshot', when: 'after' } });
    expect(await driver.outcome()).toBeUndefined();
    await here.write('a', 7);
    await vm.kill();
    const files = await readdir(source);
    await writtenBehindOurBack(lab, join(source, 'b.qcow2'));

    using journal = Journal.open(stateDir);
    expect(await codeOf(recoverOffline(driver.id, { journal }))).toBe('STALE_START');
    expect(await readdir(source)).toEqual(files);
  });

  test('and not seen where there was none', async () => {
    await using lab = await Lab.open({ name: 'unstamped' });
    const here = await BareVm.start(lab);
    const { vm, source, target, stateDir } = here;
    const order = { qmpPath: vm.qmpPath, stateDir, request: { to: target } };
    const driver = new MigrationProcess({ ...order, death: { step: 'snapshot', when: 'after' } });
    expect(await driver.outcome()).toBeUndefined();
    await here.write('a', 7);
    await vm.kill();
    using journal = Journal.open(stateDir);
    expect(await recoverOffline(driver.id, { journal })).toMatchObject({ kind: 'rolled-back' });
    expect([(await readdir(source)).toSorted(), await readdir(target)]).toEqual([['a.qcow2', 'b.qcow2'], []]);
    await here.holds(source, { a: [7] });
  });

  test('finds no image while one is half merged, whatever happened to recovery', async () => {
    await using lab = await Lab.open({ name: 'half merged' });
    const here = await BareVm.start(lab);
    const { vm, source, target, stateDir } = here;
    const driver = new MigrationProcess({
      qmpPath: vm.qmpPath,
      stateDir,
      request: { to: target },
      death: { step: 'copy', when: 'after' },
    });
    expect(await driver.outcome()).toBeUndefined();
    for (const id of ['a', 'b']) await here.write(id, 7);
    await vm.kill();
    using journal = Journal.open(stateDir);
    const { id } = driver;
    const hidden = [0, 1].map((index) => `blockferry-${id}-${index}.merging`);

    // Killed between the first merge and the second; then before the images have their names again.
    let merges = 0;
    const dying: Host = {
      ...realHost,
      foldOffline: async (overlay, options) => {
        merges += 1;
        if (merges > 1) throw new Error('killed');
        await realHost.foldOffline(overlay, options);
      },
    };
    expect(await codeOf(recoverOffline(id, { journal, host: dying }))).toMatchObject({ message: 'killed' });
    expect(await readdir(source)).toEqual(expect.arrayContaining(hidden));
    expect(await readdir(source)).not.toContain('a.qcow2');
    const late: Host = {
      ...realHost,
      renameFile: () => Promise.reject(new Error('killed')),
    };
    expect(await codeOf(recoverOffline(id, { journal, host: late }))).toMatchObject({ message: 'killed' });
    expect(await readdir(source)).not.toContain('a.qcow2');

    expect(await recoverOffline(id, { journal })).toMatchObject({ kind: 'rolled-back' });
    expect([(await readdir(source)).toSorted(), await readdir(target), here.left(id)]).toEqual([
      ['a.qcow2', 'b.qcow2'],
      [],
      [],
    ]);
    await here.holds(source, { a: [7], b: [7] });
  });
});
