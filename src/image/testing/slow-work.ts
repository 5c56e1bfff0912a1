import { execFileSync } from 'node:child_process';
import { setTimeout as sleep } from 'node:timers/promises';

/** Bytes that differ from one 512-byte sector to the next. */
export function noise(length: number): Buffer {
  const bytes = Buffer.alloc(length);
  for (let n = 0; n + 4 <= length; n += 4) bytes.writeUInt32LE((n * 2_654_435_761) % 4_294_967_291, n);
  return bytes;
}

/** Processes that this one, or that one, started and that still run. */
export function children(of: number, name: string): number[] {
  const found = execFileSync('ps', ['-e', '-o', 'pid=,ppid=,comm='], { encoding: 'utf8' });
  return found.split('\n').flatMap((line) => {
    const [pid, ppid, comm = ''] = line.trim().split(/\s+/);
    return Number(ppid) === of && name.startsWith(comm) && comm ? [Number(pid)] : [];
  });
}

/** Waits until something is seen while the work goes on; fails when the work ends without it. */
export async function until<T>(look: () => T | undefined | false, work?: Promise<unknown>): Promise<T> {
  let ended = false;
  const end = work?.finally(() => {
    ended = true;
  });
  end?.catch(() => undefined);
  while (true) {
    const seen = look();
    if (seen) return seen;
    if (ended) throw new Error('it ended too early', { cause: await end });
    await sleep(20);
  }
}
