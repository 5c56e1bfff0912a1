import { readdir, readFile } from 'node:fs/promises';
import { systemClock } from './clock.ts';
import { isGone } from './ferry-error.ts';

const LOOK_EVERY_MS = 2;
/** Threads that hand work to each other may all be asleep for a moment. */
const CALM_LOOKS = 3;
/** Who works without a pause has passed its start by then, too. */
const LONGEST_MS = 5000;

/** Whether every thread of this process waits for something; true as well where it has ended. `/proc/PID/task/TID/stat` */
export async function isAtRest(pid: number): Promise<boolean> {
  try {
    for (const thread of await readdir(`/proc/${pid}/task`)) {
      const text = await readFile(`/proc/${pid}/task/${thread}/stat`, 'utf8');
      // The second field, the program's name in parentheses, may hold spaces and parentheses.
      if (text.charAt(text.lastIndexOf(')') + 2) === 'R') return false;
    }
    return true;
  } catch (error) {
    if (!isGone(error)) throw error;
    return true;
  }
}

/**
 * Waits until a `qemu-storage-daemon` that was just started can be connected to. Its monitor lives in a thread of its own, and
 * that thread takes over a socket which the main thread may already be accepting on: who connects in between is greeted
 * twice, and what it says is read by both threads, "stray" in its JSON, or the daemon dies of it. Met with 7.2 on a busy host, even
 * after its pid file was there (1 of 600). No option of it says when it is over; its threads are at rest then.
 */
export async function waitUntilAtRest(pid: number, signal?: AbortSignal): Promise<void> {
  const until = systemClock.monotonic() + LONGEST_MS;
  let calm = 0;
  while (calm < CALM_LOOKS && systemClock.monotonic() < until) {
    calm = (await isAtRest(pid)) ? calm + 1 : 0;
    await systemClock.sleep(LOOK_EVERY_MS, signal);
  }
}
