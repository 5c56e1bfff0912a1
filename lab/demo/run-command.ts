import { spawn } from 'node:child_process';

/** Runs a command on this terminal, as a person would. @throws Error when it ends otherwise than with status 0 */
export async function runCommand(program: string, args: readonly string[]): Promise<void> {
  const child = spawn(program, args, { stdio: 'inherit' });
  const [status, signal] = await new Promise<[number | null, NodeJS.Signals | null]>((resolve, reject) => {
    child.once('error', reject);
    child.once('close', (code, name) => resolve([code, name]));
  });
  if (status !== 0) throw new Error(`blockferry ${args[0]} ended with ${signal ?? `status ${status}`}`);
}
