import type { Run } from '../run.ts';

const name = ({ plan }: Run): string => `stopped-${plan.id}`;

/** Writes to the ledger that the VM's processors are about to be stopped; given to what may do it. */
export function noteStop(run: Run): () => void {
  return () => {
    run.ledger.plan('job', name(run), 'vm-stopped');
    run.ledger.made('job', name(run));
  };
}

/** Whether this migration has stopped the processors and not let them go on since. */
export function isVmStopped(run: Run): boolean {
  return run.ledger.live('job').includes(name(run));
}

/** Lets the processors go on if this migration has stopped them, whoever drove it then; tells whether it had. */
export async function wakeVm(run: Run): Promise<boolean> {
  if (!isVmStopped(run)) return false;
  await run.vm.wake();
  run.ledger.gone('job', name(run));
  return true;
}
