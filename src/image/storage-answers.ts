import { spawn } from 'node:child_process';
import { systemClock } from '../base/index.ts';

/** What still waits for an answer, by the path that was asked for: a storage that hangs is not asked twice at a time. */
const waiting = new Map<string, Promise<void>>();

/**
 * Whether a storage answers within so many milliseconds, be it with an error: a block of the file is read past the page
 * cache, and the file is synced, which makes the storage itself say something.
 *
 * Processes of their own ask, for a storage that hangs takes with it whoever asks: in a sleep of the kernel that no signal
 * ends. They are left behind then, and end with the hang.
 */
export async function storageAnswers(path: string, withinMs: number): Promise<boolean> {
  const timer = new AbortController();
  const late = systemClock.sleep(withinMs, timer.signal).then(
    () => false,
    () => false,
  );
  const answered = await Promise.race([ask(path).then(() => true), late]);
  timer.abort();
  return answered;
}

async function ask(path: string): Promise<void> {
  let answer = waiting.get(path);
  if (answer === undefined) {
    // An I/O error and a file system without O_DIRECT (tmpfs) are answers as well.
    const read = ends('dd', [`if=${path}`, 'of=/dev/null', 'bs=4096', 'count=1', 'iflag=direct']);
    const sync = ends('sync', ['-d', '--', path]);
    answer = Promise.all([read, sync]).then(() => void waiting.delete(path));
    waiting.set(path, answer);
  }
  await answer;
}

/** Resolves when the program has ended, however it did. It does not keep this process from ending. */
async function ends(program: string, args: readonly string[]): Promise<void> {
  const child = spawn(program, args, { stdio: 'ignore', detached: true });
  child.unref();
  await new Promise((resolve) => child.once('exit', resolve).once('error', resolve));
}
