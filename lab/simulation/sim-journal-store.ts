import { ferryError } from '../../src/base/index.ts';
import type { JournalStore } from './memory-journal.ts';
import type { Manager, World } from './world.ts';

/** The journal's file, as one manager writes to it. */
export function simJournalStore(world: World, manager: Manager): JournalStore {
  return {
    get contents() {
      return world.journal;
    },
    now: () => 1_700_000_000_000 + world.time,
    commit(name, next) {
      const act = (): void => {
        world.journal = next;
        // What was in the log beyond the last commit that succeeded is overwritten.
        world.limbo = undefined;
      };
      world.effect({ manager, kind: 'journal', name }, act, ({ kind }) => {
        const fields = { path: '/journal/journal.db', reason: 'simulated' };
        if (kind === 'error') throw ferryError('JOURNAL_WRITE', fields);
        world.limbo = next;
        throw ferryError('JOURNAL_OUTCOME', fields);
      });
      world.onStep();
    },
  };
}
