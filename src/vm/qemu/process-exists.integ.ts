import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { expect, test } from 'vitest';
import { ProcFs } from './proc-fs.ts';
import { processExists, processOf } from './process-exists.ts';

test('a process that has ended does not exist, though nobody asks for its exit status', async () => {
  // What becomes a sleep does not know that it has a child.
  const parent = spawn('sh', ['-c', 'sleep 600 > /dev/null & echo $!; exec sleep 600'], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const [line] = (await once(parent.stdout, 'data')) as [Buffer];
  const pid = Number(line.toString());
  const name = (await processOf(pid)) ?? '';
  expect(await processExists(name)).toBe(true);
  process.kill(pid, 'SIGKILL');
  while (await processExists(name)) await sleep(10);
  expect(process.kill(pid, 0)).toBe(true);
  parent.kill();
});

test('one whose first thread has ended goes on with the others', async () => {
  const root = await mkdtemp(join(tmpdir(), 'blockferry-proc-'));
  await mkdir(join(root, 'sys/kernel/random'), { recursive: true });
  await mkdir(join(root, '42'));
  await writeFile(join(root, 'sys/kernel/random/boot_id'), 'boot\n');
  const withThreads = async (threads: number): Promise<string | undefined> => {
    // proc(5): the 20th field is their number, the 22nd the start time.
    await writeFile(join(root, '42/stat'), `42 (CPU 0) (KVM) Z 1 ${'2 '.repeat(15)}${threads} 0 270367 0 0\n`);
    return await processOf(42, new ProcFs(root));
  };
  expect([await withThreads(2), await withThreads(1)]).toEqual(['boot/42/270367', undefined]);
  await rm(root, { recursive: true });
});
