import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import * as fc from 'fast-check';
import { expect, test } from 'vitest';
import { isFerryError } from '../base/index.ts';
import { Journal, type LedgerState, type StepState } from './index.ts';

const IDS = ['m1', 'm2'];

/** What the journal should hold, kept as plainly as can be. */
interface Model {
  steps: { id: string; step: string; state: StepState; detail: unknown }[];
  ledger: { id: number; migration: string; name: string; state: LedgerState; detail: unknown }[];
  /** By migration and kind: the detail of the record that counts. */
  records: Map<string, unknown>;
  events: { migration: string; payload: unknown }[];
  progress: Map<string, number>;
}

type Op =
  | { op: 'step'; id: string; step: string; state: StepState; detail: unknown }
  | { op: 'plan'; id: string; name: string; detail: unknown }
  | { op: 'made'; entry: number; detail: unknown }
  | { op: 'gone'; entry: number }
  | { op: 'record'; id: string; kind: 'pivot' | 'fold'; detail: unknown }
  | { op: 'void'; id: string; kind: 'pivot' | 'fold' }
  | { op: 'emit'; id: string; payload: unknown }
  | { op: 'progress'; id: string; key: string; done: number };

const id = fc.constantFrom(...IDS, 'nobody');
const detail = fc.option(fc.jsonValue({ maxDepth: 2 }), { nil: undefined });
const entry = fc.integer({ min: 1, max: 6 });
const kind = fc.constantFrom('pivot' as const, 'fold' as const);
const ops: fc.Arbitrary<Op> = fc.oneof(
  fc.record({
    op: fc.constant('step' as const),
    id,
    step: fc.constantFrom('a', 'b'),
    state: fc.constantFrom<StepState>('intended', 'done', 'undoing', 'undone'),
    detail,
  }),
  fc.record({ op: fc.constant('plan' as const), id, name: fc.constantFrom('/x', "/it's", '/ü'), detail }),
  fc.record({ op: fc.constant('made' as const), entry, detail }),
  fc.record({ op: fc.constant('gone' as const), entry }),
  fc.record({ op: fc.constant('record' as const), id, kind, detail }),
  fc.record({ op: fc.constant('void' as const), id, kind }),
  fc.record({ op: fc.constant('emit' as const), id, payload: fc.jsonValue() }),
  fc.record({ op: fc.constant('progress' as const), id, key: fc.constantFrom('vda', 'vdb'), done: fc.maxSafeNat() }),
);

const FROM: Record<StepState, string[]> = {
  intended: ['none', 'intended', 'undone'],
  done: ['intended'],
  undoing: ['intended', 'done', 'undoing'],
  undone: ['undoing'],
};

/** Applies to the model; false where the journal must refuse. */
function applyToModel(model: Model, op: Op): boolean {
  if ('id' in op && !IDS.includes(op.id)) return false;
  if (op.op === 'step') {
    const old = model.steps.find((one) => one.id === op.id && one.step === op.step);
    if (!FROM[op.state].includes(old?.state ?? 'none')) return false;
    if (!old) model.steps.push({ id: op.id, step: op.step, state: op.state, detail: op.detail ?? null });
    else Object.assign(old, { state: op.state }, op.detail === undefined ? {} : { detail: op.detail });
  } else if (op.op === 'plan') {
    const live = model.ledger.filter((one) => one.name === op.name && one.state !== 'gone')[0];
    if (live) return live.migration === op.id;
    const entry = { id: model.ledger.length + 1, migration: op.id, name: op.name, detail: op.detail ?? null };
    model.ledger.push({ ...entry, state: 'planned' });
  } else if (op.op === 'made' || op.op === 'gone') {
    const entry = model.ledger[op.entry - 1];
    if (!entry || (op.op === 'made' && entry.state === 'gone')) return false;
    entry.state = op.op;
    if (op.op === 'made' && op.detail !== undefined) entry.detail = op.detail;
  } else if (op.op === 'record') {
    if (model.records.has(`${op.id} ${op.kind}`)) return false;
    model.records.set(`${op.id} ${op.kind}`, op.detail ?? null);
  } else if (op.op === 'void') model.records.delete(`${op.id} ${op.kind}`);
  else if (op.op === 'emit') model.events.push({ migration: op.id, payload: op.payload });
  else model.progress.set(`${op.id} ${op.key}`, op.done);
  return true;
}

function applyToJournal(journal: Journal, op: Op): void {
  const step = {
    intended: () => op.op === 'step' && journal.intendStep(op.id, op.step, op.detail),
    done: () => op.op === 'step' && journal.confirmStep(op.id, op.step, op.detail),
    undoing: () => op.op === 'step' && journal.undoingStep(op.id, op.step, op.detail),
    undone: () => op.op === 'step' && journal.undoneStep(op.id, op.step, op.detail),
  };
  if (op.op === 'step') step[op.state]();
  else if (op.op === 'plan') journal.ledgerPlan(op.id, { kind: 'file', role: 'r', name: op.name, detail: op.detail });
  else if (op.op === 'made') journal.ledgerMade(op.entry, op.detail);
  else if (op.op === 'gone') journal.ledgerGone(op.entry);
  else if (op.op === 'record') journal.writeCommitRecord(op.id, op.kind, op.detail);
  else if (op.op === 'void') journal.voidCommitRecord(op.id, op.kind, 'why');
  else if (op.op === 'emit') journal.emit(op.id, 't', op.payload);
  else journal.saveProgress(op.id, op.key, { done: op.done, total: 1 });
}

/** False when the journal refuses. */
function tryOnJournal(journal: Journal, op: Op): boolean {
  try {
    applyToJournal(journal, op);
    return true;
  } catch (error) {
    if (isFerryError(error, 'INTERNAL', 'LEDGER_TAKEN')) return false;
    throw error;
  }
}

/** What JSON keeps of a value: -0 is 0, a key `__proto__` is a key. */
function viaJson(value: unknown): unknown {
  return JSON.parse(JSON.stringify(value)) as unknown;
}

function compare(journal: Journal, model: Model): void {
  for (const name of IDS) {
    const steps = model.steps.filter((one) => one.id === name);
    expect(journal.steps(name).map(({ step, state, detail }) => ({ step, state, detail }))).toEqual(
      steps.map(({ step, state, detail }) => ({ step, state, detail: viaJson(detail) })),
    );
    const live = journal.ledger(name).map(({ id, name, state, detail }) => ({ id, name, state, detail }));
    const wanted = model.ledger.filter(({ migration }) => migration === name);
    expect(live).toEqual(wanted.map((one) => ({ ...one, migration: undefined, detail: viaJson(one.detail) })));
    for (const kind of ['pivot', 'fold', 'fold-back'] as const) {
      const record = journal.commitRecord(name, kind);
      expect(record !== undefined).toBe(model.records.has(`${name} ${kind}`));
      if (record) expect(record.detail).toEqual(viaJson(model.records.get(`${name} ${kind}`)));
    }
    const progress = Object.fromEntries(journal.progress(name).map(({ key, done }) => [`${name} ${key}`, done]));
    expect(progress).toEqual(Object.fromEntries([...model.progress].filter(([key]) => key.startsWith(name))));
  }
  expect(journal.events().map(({ migration, payload }) => ({ migration, payload }))).toEqual(viaJson(model.events));
}

/** Runs the operations against both; the journal is closed and opened after each `every` of them. */
function play(sequence: readonly Op[], every: number): void {
  const dir = mkdtempSync(join(tmpdir(), 'journal-model-'));
  let journal = Journal.open(dir);
  try {
    IDS.forEach((name, i) => {
      const vm = { name, uuid: '', process: `boot/${i}/1`, address: '/q', host: 'h' };
      journal.addMigration({ id: name, vm, plan: null, options: null });
    });
    const model: Model = { steps: [], ledger: [], records: new Map(), events: [], progress: new Map() };
    sequence.forEach((op, i) => {
      const allowed = applyToModel(model, op);
      expect({ op, done: tryOnJournal(journal, op) }).toEqual({ op, done: allowed });
      if ((i + 1) % every !== 0) return;
      journal[Symbol.dispose]();
      journal = Journal.open(dir);
    });
    compare(journal, model);
  } finally {
    journal[Symbol.dispose]();
    rmSync(dir, { recursive: true });
  }
}

test('any sequence of operations leaves what a simple model says, reopened at any point', () => {
  fc.assert(fc.property(fc.array(ops, { maxLength: 60 }), fc.integer({ min: 1, max: 20 }), play), { numRuns: 60 });
});
