import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempDisposable, open, readFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
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

test('a Ctrl-C on the terminal is for us alone', async () => {
  const subprocess = JSON.stringify(join(import.meta.dirname, 'subprocess.ts'));
  const program = `
    import { run } from ${subprocess};
    process.on('SIGINT', () => {});
    const { stdout } = await run('sh', ['-c', 'echo begun > begun; read -r line < go; echo ended'], { cwd: process.argv[1] });
    process.stdout.write(stdout);`;
  await using folder = await mkdtempDisposable(join(tmpdir(), 'ctrl-c-'));
  await promisify(execFile)('mkfifo', ['go', 'begun'], { cwd: folder.path });
  const ours = spawn(process.execPath, ['--input-type=module', '-e', program, folder.path], { detached: true });
  let said = '';
  for (const stream of [ours.stdout, ours.stderr])
    stream.setEncoding('utf8').on('data', (text: string) => (said += text));
  const over = once(ours, 'close');
  expect(await readFile(join(folder.path, 'begun'), 'utf8')).toBe('begun\n');
  // The kernel sends it to the whole group in the foreground.
  process.kill(-(ours.pid as number), 'SIGINT');
  // Opened for both, it does not wait for a reader, of which there is none when the child has ended.
  await using go = await open(join(folder.path, 'go'), 'r+');
  await go.writeFile('go\n');
  expect([await over, said]).toEqual([[0, null], 'ended\n']);
});
