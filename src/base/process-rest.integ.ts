import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { setTimeout as sleep } from 'node:timers/promises';
import { expect, test } from 'vitest';
import { isAtRest, waitUntilAtRest } from './process-rest.ts';

test('a process that waits is at rest, one that works is not, one that has ended is', async () => {
  const works = spawn('sh', ['-c', 'while :; do :; done']);
  const waits = spawn('sleep', ['60']);
  try {
    await waitUntilAtRest(waits.pid as number);
    expect(await isAtRest(waits.pid as number)).toBe(true);
    // The moment between fork and exec is none of work.
    for (let look = 0; (await isAtRest(works.pid as number)) && look < 1000; look++) await sleep(1);
    expect(await isAtRest(works.pid as number)).toBe(false);
    const over = once(works, 'close');
    works.kill('SIGKILL');
    await over;
    expect(await isAtRest(works.pid as number)).toBe(true);
    await waitUntilAtRest(works.pid as number);
  } finally {
    works.kill('SIGKILL');
    waits.kill('SIGKILL');
  }
});
