import type { Run } from '../run.ts';
import { requireAnswers } from '../storage-answers.ts';
import { isTargetOpen } from '../target-files.ts';

const name = ({ plan }: Run): string => `stopped-${plan.id}`;

/** When this process has stopped the processors, by the monotonic clock. */
const stoppedAt = new WeakMap<Run, number>();

/**
 * What is done before the VM's processors are stopped; given to what may do it. The storages are asked whether they answer,
 * because QEMU stops nothing before all of its I/O has come back. Then it is written to the ledger.
 * @throws FerryError STORAGE_HANGS, from the function that it returns
 */
export function beforeStop(run: Run): () => Promise<void> {
  return async () => {
    if (isTargetOpen(run)) await requireAnswers(run, 'target');
    await requireAnswers(run, 'source');
    await noteStop(run)();
  };
}

/** The same where the storages were asked just before. */
export function noteStop(run: Run): () => Promise<void> {
  return () => {
    run.ledger.plan('job', name(run), 'vm-stopped');
    run.ledger.made('job', name(run));
    stoppedAt.set(run, run.clock.monotonic());
    return Promise.resolve();
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
