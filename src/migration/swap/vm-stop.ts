import type { Run } from '../run.ts';

const name = ({ plan }: Run): string => `stopped-${plan.id}`;

/** When this process has stopped the processors, by the monotonic clock. */
const stoppedAt = new WeakMap<Run, number>();

/** Writes to the ledger that the VM's processors are about to be stopped; given to what may do it. */
export function noteStop(run: Run): () => void {
  return () => {
    run.ledger.plan('job', name(run), 'vm-stopped');
    run.ledger.made('job', name(run));
    stoppedAt.set(run, run.clock.monotonic());
  };
}

/** Whether this migration has stopped the processors and not let them go on since. */
export function isVmStopped(run: Run): boolean {
  return run.ledger.live('job').includes(name(run));
}

/**
 * Lets the processors go on if this migration has stopped them, whoever drove it then.
 * @returns for how many milliseconds they stood still; undefined where they did not, or another process had stopped them
 */
export async function wakeVm(run: Run): Promise<number | undefined> {
  if (!isVmStopped(run)) return undefined;
  await run.vm.wake();
  const since = stoppedAt.get(run);
  const ms = since === undefined ? undefined : run.clock.monotonic() - since;
  stoppedAt.delete(run);
  run.ledger.gone('job', name(run));
  return ms;
}
