import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

/**
 * Lets a person edit a text in the editor of the environment: VISUAL, EDITOR, or vi.
 * @throws Error when the editor failed, with virsh's words
 */
export async function editText(text: string, env: NodeJS.ProcessEnv): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'blockferry-edit-'));
  try {
    const file = join(folder, 'snapshot.xml');
    await writeFile(file, text, { mode: 0o600 });
    const editor = env['VISUAL'] || env['EDITOR'] || 'vi';
    // The shell splits what the variable holds, as `EDITOR="code --wait"` expects; the file is an argument of its own.
    const child = spawn('sh', ['-c', `${editor} "$1"`, 'sh', file], { stdio: 'inherit', env });
    const [status, signal] = (await once(child, 'close')) as [number | null, string | null];
    if (status !== 0) {
      const how = signal === null ? `exit status ${status}` : `signal ${signal}`;
      throw new Error(`internal error: Child process (${editor} ${file}) unexpected ${how}`);
    }
    return await readFile(file, 'utf8');
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}
