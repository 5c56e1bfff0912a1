import type { Run } from './run.ts';

const name = ({ plan }: Run): string => `stopped-${plan.id}`;

/** Writes to the ledger that the VM's processors are about to be stopped; given to `hold` of the VM. */
export function noteStop(run: Run): () => void {
  return () => {
    run.ledger.plan('job', name(run), 'vm-stopped');
    run.ledger.made('job', name(run));
  };
}

/** Lets the processors go on if this migration has stopped them, whoever drove it then. */
export async function wakeVm(run: Run): Promise<void> {
  if (!run.ledger.live('job').includes(name(run))) return;
  await run.vm.wake();
  run.ledger.gone('job', name(run));
}
