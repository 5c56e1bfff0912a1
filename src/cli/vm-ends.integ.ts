import { readdir } from 'node:fs/promises';
import { expect, test } from 'vitest';
import { copying, find, listing, scene, startSlow } from '../../lab/cli-scene.ts';
import { Lab } from '../../lab/index.ts';
import { QmpClient } from '../qmp/index.ts';

test('a VM that is shut down while its disks move: they are brought back at once, and it says so', async () => {
  await using lab = await Lab.open({ name: 'vm ends' });
  const here = await scene(lab, 'ends early', { monitors: 2 });
  const before = await listing(here.source);
  const migration = startSlow(here);
  await copying(migration);
  {
    await using qmp = await QmpClient.connect({ path: here.vm.qmpPaths[1] ?? '' });
    await qmp.execute('quit');
  }
  const { status } = await migration.ended;
  const { lines } = migration;
  expect([status, find(lines, 'result')['outcome']], JSON.stringify(lines.at(-1))).toEqual([4, 'rolled-back']);
  expect(String(find(lines, 'result')['message'])).toContain(
    'QEMU of ends early is gone; the disks are where they were',
  );
  expect(lines.map(({ code }) => code)).toContain('ROLLED_BACK');
  expect([await listing(here.source), await readdir(here.target)]).toEqual([before, []]);
});
