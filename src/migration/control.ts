import { ferryError, formatRate } from '../base/index.ts';
import { askOwner, type ControlHandler } from '../journal/index.ts';
import type { MigrationJournal } from './migration-journal.ts';
import type { RunControl } from './run-control.ts';

/** What another process can ask the owner of a migration for. */
export type ControlCommand =
  | { readonly command: 'abort' }
  | { readonly command: 'pause' }
  | { readonly command: 'resume' }
  | { readonly command: 'set-speed'; readonly bytesPerSecond: number };

/** What the owner does when it is asked. Each answer is one sentence for the asker. */
export function controlHandler(
  id: string,
  control: RunControl,
  journal: Pick<MigrationJournal, 'commitRecord'>,
): ControlHandler {
  return (request) => {
    switch (request.command) {
      case 'abort': {
        if (journal.commitRecord(id, 'pivot') !== undefined) throw ferryError('TOO_LATE', { id });
        control.abort();
        return Promise.resolve('aborting: it is rolled back, unless the swap is taking place this moment');
      }
      case 'pause': {
        control.pause();
        return Promise.resolve('paused: copying stands still, and the guest goes on, mirrored');
      }
      case 'resume': {
        control.resume();
        return Promise.resolve('going on');
      }
      case 'set-speed': {
        const { bytesPerSecond } = request;
        if (typeof bytesPerSecond !== 'number' || !(bytesPerSecond >= 0)) {
          throw ferryError('BAD_SIZE', { text: String(bytesPerSecond) });
        }
        control.setSpeed(bytesPerSecond);
        return Promise.resolve(
          bytesPerSecond === 0 ? 'no limit any more' : `at most ${formatRate(bytesPerSecond)} now`,
        );
      }
      default: {
        throw ferryError('INTERNAL', { what: `the owner of ${id} does not know the request '${request.command}'` });
      }
    }
  };
}

/** Asks the process that drives a migration; undefined when none does. */
export async function askMigration(
  journal: Pick<MigrationJournal, 'dir'>,
  id: string,
  command: ControlCommand,
): Promise<string | undefined> {
  const answer = await askOwner(journal.dir, id, command);
  return typeof answer === 'string' ? answer : undefined;
}
