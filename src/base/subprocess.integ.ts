import { expect, test } from 'vitest';
import { isFerryError } from './ferry-error.ts';
import { run, type RunOptions } from './subprocess.ts';

async function failure(program: string, args: readonly string[], options: RunOptions): Promise<string> {
  try {
    await run(program, args, options);
  } catch (error) {
    if (isFerryError(error, 'TOOL_FAILED')) return error.message;
    throw error;
  }
  return 'it did not fail';
}

async function inOnePiece(size: string): Promise<string> {
  const args = ['if=/dev/zero', 'of=/dev/null', 'count=1', `bs=${size}`];
  return await failure('dd', args, { memoryLimit: 64 * 2 ** 20 });
}

test('a program gets as much memory of its own as it may have', async () => {
  expect(await inOnePiece('128M')).toMatch(/memory exhausted/);
  expect(await inOnePiece('32M')).toBe('it did not fail');
});

test('a program that goes on for ever is ended by the CPU time that it takes', async () => {
  const failed = await failure('dd', ['if=/dev/zero', 'of=/dev/null', 'bs=64k'], { cpuLimit: 1 });
  expect(failed).toContain('it took more than 1 s of CPU time');
});
