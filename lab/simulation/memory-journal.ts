import { ferryError } from '../../src/base/index.ts';
import type {
  CommitKind,
  CommitRecord,
  LedgerEntry,
  LedgerFilter,
  Migration,
  MigrationChange,
  NewLedgerEntry,
  NewMigration,
  StepRecord,
  StepState,
} from '../../src/journal/index.ts';
import { STATE_CHANGES } from '../../src/journal/migrations.ts';
import { STEP_CHANGES } from '../../src/journal/steps.ts';
import type { MigrationJournal } from '../../src/migration/index.ts';

type Verdict = { readonly verdict: 'commit' | 'void'; readonly detail: unknown };

/** What is on the disk of a journal. Replaced, never changed, by a write: so a write that failed leaves what was. */
export interface JournalContents {
  readonly migrations: ReadonlyMap<string, Migration>;
  readonly steps: readonly (StepRecord & { readonly migration: string })[];
  readonly ledger: readonly LedgerEntry[];
  /** By migration and kind, the last verdict. */
  readonly records: ReadonlyMap<string, Verdict>;
}

export const EMPTY_JOURNAL: JournalContents = { migrations: new Map(), steps: [], ledger: [], records: new Map() };

/** Where a journal keeps what it holds. */
export interface JournalStore {
  contents: JournalContents;
  now(): number;
  /** Makes what a write leaves durable; may throw instead. */
  commit(name: string, next: JournalContents): void;
}

/** The journal without SQLite: the same rules, in memory. `memory-journal.test.ts` compares the two. */
export class MemoryJournal implements MigrationJournal {
  readonly dir = '/journal';
  readonly #store: JournalStore;
  /** What a transaction under way has written so far. */
  #open: { next: JournalContents; names: string[] } | undefined;

  constructor(store: JournalStore) {
    this.#store = store;
  }

  get #now(): JournalContents {
    return this.#open?.next ?? this.#store.contents;
  }

  #write(name: string, next: JournalContents): void {
    if (this.#open === undefined) return this.#store.commit(name, next);
    this.#open.next = next;
    this.#open.names.push(name);
    return undefined;
  }

  transaction<T>(task: () => T): T {
    if (this.#open) return task();
    this.#open = { next: this.#store.contents, names: [] };
    try {
      const result = task();
      const { next, names } = this.#open;
      this.#open = undefined;
      if (names.length > 0) this.#store.commit(names.join(' + '), next);
      return result;
    } finally {
      this.#open = undefined;
    }
  }

  addMigration({ id, vm, plan, options }: NewMigration): void {
    const at = this.#store.now();
    const migration: Migration = {
      id,
      vm,
      plan,
      options,
      state: 'running',
      goal: 'forward',
      createdAt: at,
      updatedAt: at,
    };
    this.#write('begin', { ...this.#now, migrations: new Map([...this.#now.migrations, [id, migration]]) });
  }

  migration(id: string): Migration {
    const found = this.#now.migrations.get(id);
    if (!found) throw ferryError('NO_SUCH_MIGRATION', { directory: this.dir, id });
    return found;
  }

  update(id: string, change: MigrationChange): void {
    const old = this.migration(id);
    const next = { ...old, ...change };
    const wrong = (what: string): never => {
      throw ferryError('INTERNAL', { what: `migration ${id} cannot change ${what}` });
    };
    if (next.state !== old.state && !STATE_CHANGES[old.state].includes(next.state))
      wrong(`from ${old.state} to ${next.state}`);
    const finished = old.state === 'done' || old.state === 'rolled-back';
    if (next.goal !== old.goal && (old.goal === 'back' || finished)) wrong(`its goal to ${next.goal}`);
    if ((next.state === 'rolling-back' || next.state === 'rolled-back') && next.goal !== 'back')
      wrong(`to ${next.state} while its goal is ${next.goal}`);
    if (next.state === 'done' && next.goal !== 'forward') wrong('to done while its goal is back');
    if (next.goal !== old.goal && this.commitRecord(id, 'pivot')) wrong("its goal: its pivot's commit record stands");
    const migrations = new Map([...this.#now.migrations, [id, next]]);
    this.#write(`state ${next.state}, goal ${next.goal}`, { ...this.#now, migrations });
  }

  intendStep(id: string, step: string, detail?: unknown): void {
    this.#step(id, step, 'intended', detail);
  }

  confirmStep(id: string, step: string, detail?: unknown): void {
    this.#step(id, step, 'done', detail);
  }

  undoingStep(id: string, step: string, detail?: unknown): void {
    this.#step(id, step, 'undoing', detail);
  }

  undoneStep(id: string, step: string, detail?: unknown): void {
    this.#step(id, step, 'undone', detail);
  }

  #step(migration: string, step: string, state: StepState, detail: unknown): void {
    const { steps } = this.#now;
    const old = steps.find((one) => one.migration === migration && one.step === step);
    const from = old?.state ?? 'none';
    if (!STEP_CHANGES[state].includes(from)) {
      throw ferryError('INTERNAL', {
        what: `step ${step} of migration ${migration} cannot go from ${from} to ${state}`,
      });
    }
    const kept = detail === undefined ? (old?.detail ?? null) : detail;
    const next = { migration, step, state, at: this.#store.now(), detail: kept };
    const all = old ? steps.map((one) => (one === old ? next : one)) : [...steps, next];
    this.#write(`step ${step} ${state}`, { ...this.#now, steps: all });
  }

  steps(id: string): StepRecord[] {
    return this.#now.steps.filter(({ migration }) => migration === id);
  }

  ledgerPlan(migration: string, entry: NewLedgerEntry): LedgerEntry {
    const { ledger } = this.#now;
    const live = ledger.find(({ kind, name, state }) => kind === entry.kind && name === entry.name && state !== 'gone');
    if (live) return live;
    const at = this.#store.now();
    const planned: LedgerEntry = {
      ...entry,
      id: ledger.length + 1,
      migration,
      state: 'planned',
      detail: entry.detail ?? null,
      createdAt: at,
      updatedAt: at,
    };
    this.#write(`ledger ${entry.kind} ${entry.name}`, { ...this.#now, ledger: [...ledger, planned] });
    return planned;
  }

  ledgerMade(entryId: number, detail?: unknown): void {
    const { name, state } = this.#entry(entryId);
    if (state === 'gone') throw ferryError('INTERNAL', { what: `${name} cannot be made: its entry is gone` });
    this.#changeEntry(entryId, 'made', detail);
  }

  ledgerGone(entryId: number): void {
    if (this.#entry(entryId).state !== 'gone') this.#changeEntry(entryId, 'gone', undefined);
  }

  #entry(entryId: number): LedgerEntry {
    const entry = this.#now.ledger[entryId - 1];
    if (!entry) throw ferryError('INTERNAL', { what: `no ledger entry ${entryId}` });
    return entry;
  }

  #changeEntry(entryId: number, state: 'made' | 'gone', detail: unknown): void {
    const { name, detail: old } = this.#entry(entryId);
    const ledger = this.#now.ledger.map((entry) =>
      entry.id === entryId ? { ...entry, state, detail: detail === undefined ? old : detail } : entry,
    );
    this.#write(`${name} ${state}`, { ...this.#now, ledger });
  }

  ledger(id: string, { kind, states }: LedgerFilter = {}): LedgerEntry[] {
    return this.#now.ledger.filter(
      (entry) =>
        entry.migration === id && (kind ?? entry.kind) === entry.kind && (states?.includes(entry.state) ?? true),
    );
  }

  quiesce(): Disposable {
    this.#write('quiesce', this.#now);
    return { [Symbol.dispose]: () => undefined };
  }

  writeCommitRecord(id: string, kind: CommitKind, detail: unknown): void {
    if (this.commitRecord(id, kind)) throw ferryError('INTERNAL', { what: `a second ${kind} record of ${id}` });
    if (kind === 'pivot' && this.migration(id).goal !== 'forward')
      throw ferryError('INTERNAL', { what: `a ${kind} record of ${id}, which goes back` });
    this.#record(id, kind, { verdict: 'commit', detail });
  }

  voidCommitRecord(id: string, kind: CommitKind, reason: string): void {
    this.#record(id, kind, { verdict: 'void', detail: reason });
  }

  #record(id: string, kind: CommitKind, verdict: Verdict): void {
    const records = new Map([...this.#now.records, [`${id} ${kind}`, verdict]]);
    this.#write(`COMMIT RECORD ${kind} ${verdict.verdict}`, { ...this.#now, records });
  }

  commitRecord(id: string, kind: CommitKind): CommitRecord | undefined {
    const last = this.#now.records.get(`${id} ${kind}`);
    return last?.verdict === 'commit' ? { kind, detail: last.detail, at: 0 } : undefined;
  }

  emit(_id: string, type: string, payload: unknown): number {
    const { step = '', state = '' } = payload as { readonly step?: string; readonly state?: string };
    this.#write(`event ${[type, step, state].filter((word) => word !== '').join(' ')}`, this.#now);
    return 0;
  }

  saveProgress(): void {
    this.#write('progress', this.#now);
  }
}
