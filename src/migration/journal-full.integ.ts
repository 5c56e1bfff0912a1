import { mkdir, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { BareVm } from '../../lab/bare-vm.ts';
import { takeOver } from '../../lab/engine.ts';
import { Lab, whyNoMount } from '../../lab/index.ts';
import { run } from '../base/index.ts';

const noMount = await whyNoMount();
if (noMount !== undefined) console.warn(`not tested: a journal without space (${noMount})`);

test.skipIf(noMount)('a journal without space: everything stays as it is, and goes on when there is some', async () => {
  await using lab = await Lab.open({ name: 'journal full' });
  const here = await BareVm.start(lab);
  await mkdir(here.stateDir, { mode: 0o700 });
  // The journal's write-ahead log takes more than a MiB before it is written back.
  await run('mount', ['-t', 'tmpfs', '-o', 'size=2m,mode=700', 'journal', here.stateDir]);
  lab.defer(async () => {
    await run('umount', [here.stateDir]);
  });
  const ballast = join(here.stateDir, 'ballast');

  // What is there is written whole or not at all, so it is filled with less and less.
  const full = await here.migrate('copy begun', async () => {
    await here.write('a', 7);
    for (let size = 2 ** 21; size >= 512; size /= 2) {
      await writeFile(ballast, Buffer.alloc(size), { flag: 'a' }).catch(() => undefined);
    }
  });
  expect(full.outcome).toMatchObject({ kind: 'attention', cause: { code: 'JOURNAL_WRITE' } });
  expect(full.outcome.message).toContain('everything stays as it is now');
  const { id } = full.plan;
  const { jobs } = await here.traces();
  expect(jobs.toSorted()).toEqual([`bf-${id}-mirror0`, `bf-${id}-mirror1`]);
  // Who looks sees it, and who would go on cannot either.
  expect(here.left(id)).not.toEqual([]);
  await expect(takeOver(here.vm, { stateDir: here.stateDir, id })).rejects.toMatchObject({
    code: expect.stringMatching(/^(?:JOURNAL_WRITE|CONTROL_SOCKET)$/) as unknown,
  });

  await rm(ballast);
  expect(await takeOver(here.vm, { stateDir: here.stateDir, id })).toMatchObject({ kind: 'done' });
  expect(here.left(id)).toEqual([]);
  await here.holds(here.target, { a: [7] });
});
