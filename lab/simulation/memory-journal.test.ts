import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import * as fc from 'fast-check';
import { expect, test } from 'vitest';
import { isFerryError } from '../../src/base/index.ts';
import { Journal } from '../../src/journal/index.ts';
import type { MigrationJournal } from '../../src/migration/index.ts';
import { EMPTY_JOURNAL, type JournalContents, MemoryJournal } from './memory-journal.ts';

const ID = 'm1';
const step = fc.constantFrom('a', 'b');
const kind = fc.constantFrom('pivot' as const, 'fold' as const, 'fold-back' as const);
const state = fc.constantFrom('running', 'paused', 'rolling-back', 'attention', 'done', 'rolled-back');
const change = fc.record({ state, goal: fc.constantFrom('forward', 'back') }, { requiredKeys: [] });
const name = fc.constantFrom('/x', '/y');
const call = fc.oneof(
  fc.tuple(
    fc.constantFrom('intendStep', 'confirmStep', 'undoingStep', 'undoneStep'),
    step,
    fc.option(fc.nat(3), { nil: undefined }),
  ),
  fc.tuple(fc.constantFrom('ledgerPlan'), fc.record({ kind: fc.constantFrom('file', 'node'), name, role: name })),
  fc.tuple(fc.constantFrom('writeCommitRecord', 'voidCommitRecord'), kind, fc.constant('why')),
  fc.tuple(fc.constantFrom('update'), change),
);
const entryCall = fc.tuple(fc.constantFrom('ledgerMade', 'ledgerGone'), fc.integer({ min: 1, max: 4 }));
const calls = fc.array(fc.oneof({ weight: 3, arbitrary: call }, entryCall), { maxLength: 30 });

type Method = (...args: readonly unknown[]) => unknown;

/** What came of a call, and all that can be read afterwards, but for times. */
function outcome(journal: MigrationJournal, [method, ...args]: readonly unknown[]): unknown {
  const about = method === 'ledgerMade' || method === 'ledgerGone' ? args : [ID, ...args];
  let failure = 'none';
  try {
    (Reflect.get(journal, method as string) as Method).apply(journal, about);
  } catch (error) {
    failure = isFerryError(error) ? error.code : String(error);
  }
  const { state, goal, message } = journal.migration(ID);
  return {
    failure,
    state,
    goal,
    message,
    steps: journal.steps(ID).map(({ step, state, detail }) => ({ step, state, detail })),
    ledger: journal.ledger(ID).map(({ id, kind, name, role, state }) => ({ id, kind, name, role, state })),
    live: journal.ledger(ID, { kind: 'file', states: ['planned', 'made'] }).map(({ id }) => id),
    records: ['pivot', 'fold', 'fold-back'].map((kind) => journal.commitRecord(ID, kind as 'fold') !== undefined),
  };
}

test('the journal in memory and the one on disk answer alike, whatever they are asked', () => {
  const dir = mkdtempSync(join(tmpdir(), 'memory-journal-'));
  try {
    let runs = 0;
    fc.assert(
      fc.property(calls, (all) => {
        using real = Journal.open(join(dir, String((runs += 1))));
        const store = {
          contents: EMPTY_JOURNAL,
          now: () => 0,
          commit: (_: string, next: JournalContents) => void (store.contents = next),
        };
        const memory = new MemoryJournal(store);
        const vm = { name: 'vm', uuid: '', process: 'boot/1/2', address: '/run/vm', host: 'here' };
        for (const journal of [real, memory]) journal.addMigration({ id: ID, vm, plan: {}, options: {} });
        for (const one of all) expect(outcome(memory, one)).toEqual(outcome(real, one));
      }),
      { numRuns: 60 },
    );
  } finally {
    rmSync(dir, { recursive: true, force: true });
  }
});
