import type { Clock } from '../../src/base/index.ts';
import type { Manager, World } from './world.ts';

/** Simulated time, as one manager sees it: who is dead is woken by nothing. */
export function simClock(world: World, manager: Manager): Clock {
  return {
    now: () => 1_700_000_000_000 + world.time,
    monotonic: () => world.time,
    sleep(ms, signal) {
      return new Promise((resolve, reject) => {
        if (!manager.alive) return;
        signal?.throwIfAborted();
        const wake = (): void => resolve();
        world.after(ms, manager, wake);
        const onAbort = (): void => {
          world.forget(wake);
          reject(signal?.reason as Error);
        };
        signal?.addEventListener('abort', onAbort, { once: true });
      });
    },
    timeout(ms) {
      const limit = new AbortController();
      if (manager.alive) world.after(ms, manager, () => limit.abort('the time is over'));
      return limit.signal;
    },
  };
}
