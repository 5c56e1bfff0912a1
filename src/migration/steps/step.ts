import type { Run } from '../run.ts';
import type { StepName } from '../step-name.ts';

/**
 * One step of a migration. All have this shape, so that the runner, recovery and a rollback drive them alike:
 *
 *   look      what reality says: `done` when there is nothing left to do
 *   intend    writes to the ledger what the step is going to make
 *   act       makes it; may be called again on what an interrupted attempt left
 *   confirm   looks whether it is so, and throws where it is not; what it returns is kept with the step in the journal
 *   undo      takes back whatever there is of it, wherever it was interrupted; may be called again
 */
export interface Step {
  readonly name: StepName;
  look(run: Run): Promise<'open' | 'done'>;
  intend(run: Run): void;
  act(run: Run): Promise<void>;
  confirm(run: Run): Promise<unknown>;
  undo(run: Run): Promise<void>;
}
