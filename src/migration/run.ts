import type { Clock } from '../base/index.ts';
import type { LedgerEntry } from '../journal/index.ts';
import type { VirtualMachine } from '../vm/index.ts';
import { type FileMark, isPlaceholder, type PlaceholderMark } from './file-mark.ts';
import type { MigrationEvent, ProgressReport } from './event.ts';
import type { Host } from './host.ts';
import type { MigrationJournal } from './migration-journal.ts';
import type { MigrationPlan } from './plan/plan.ts';
import type { RunControl } from './run-control.ts';

/** What every step of one migration works with. */
export interface Run {
  readonly plan: MigrationPlan;
  readonly vm: VirtualMachine;
  readonly host: Host;
  readonly journal: MigrationJournal;
  readonly ledger: Ledger;
  readonly clock: Clock;
  readonly control: RunControl;
  /** Writes the event to the journal and shows it. */
  emit(event: MigrationEvent): void;
  /** Shows progress; the journal keeps the last of each. */
  report(progress: ProgressReport): void;
}

type Kind = LedgerEntry['kind'];

/** Said of a file that `Ledger.isAnothers`. */
export function anothersText(path: string): string {
  return `${path} is not the file that was made there: somebody else has put it there, and it is left alone`;
}

/** The journal's ledger of one migration: every file, node and job, written before it is made. */
export class Ledger {
  readonly #journal: MigrationJournal;
  readonly #host: Host;
  readonly #id: string;

  constructor(journal: MigrationJournal, host: Host, id: string) {
    this.#journal = journal;
    this.#host = host;
    this.#id = id;
  }

  /** Durable when it returns; only then may the thing be made. */
  plan(kind: Kind, name: string, role: string, disk?: string): void {
    this.#journal.ledgerPlan(this.#id, { kind, name, role, ...(disk === undefined ? {} : { disk }) });
  }

  made(kind: Exclude<Kind, 'file'>, ...names: readonly string[]): void {
    this.#each(kind, names, (entry) => this.#journal.ledgerMade(entry.id));
  }

  /** The files are there: which ones is recorded too, so that another of the same name is never taken for one of them. */
  async madeFiles(...paths: readonly string[]): Promise<void> {
    const marks = new Map(
      await Promise.all(paths.map(async (path) => [path, await this.#host.fileMark(path)] as const)),
    );
    this.#each('file', paths, (entry) => this.#journal.ledgerMade(entry.id, marks.get(entry.name)));
  }

  /**
   * Records empty files that somebody is going to write to: from then on they are that one's, whatever file it is.
   */
  async madePlaceholders(...paths: readonly string[]): Promise<void> {
    const marks = new Map(await Promise.all(paths.map(async (path) => [path, await this.#placeholder(path)] as const)));
    this.#each('file', paths, (entry) => this.#journal.ledgerMade(entry.id, marks.get(entry.name)));
  }

  async #placeholder(path: string): Promise<PlaceholderMark | undefined> {
    const mark = await this.#host.fileMark(path);
    if (mark === undefined) return undefined;
    const { size, mtime } = await this.#host.stampOf(path);
    return { ...mark, size, mtime };
  }

  gone(kind: Kind, ...names: readonly string[]): void {
    this.#each(kind, names, (entry) => this.#journal.ledgerGone(entry.id));
  }

  /** Whether it was recorded as made and not as gone since. */
  isMade(kind: Kind, name: string): boolean {
    return this.#live(kind).some((entry) => entry.name === name && entry.state === 'made');
  }

  /**
   * Whether the file of this name is another than the one that was recorded as made, or a placeholder that was written to. Of
   * one that was not recorded, nobody knows.
   */
  async isAnothers(path: string): Promise<boolean> {
    const entry = this.#live('file').find(({ name, state }) => name === path && state === 'made');
    const made = (entry?.detail ?? undefined) as FileMark | undefined;
    const found = await this.#host.fileMark(path);
    if (made === undefined || found === undefined) return false;
    if (made.ino !== found.ino || made.born !== found.born) return true;
    if (!isPlaceholder(made)) return false;
    const { size, mtime } = await this.#host.stampOf(path);
    return made.size !== size || made.mtime !== mtime;
  }

  /** How many of a kind were ever planned: for names that are never used twice. */
  count(kind: Kind): number {
    return this.#journal.ledger(this.#id, { kind }).length;
  }

  /** Names that are planned or made and not gone. */
  live(kind: Kind): readonly string[] {
    return this.#live(kind).map(({ name }) => name);
  }

  #live(kind: Kind): readonly LedgerEntry[] {
    return this.#journal.ledger(this.#id, { kind, states: ['planned', 'made'] });
  }

  #each(kind: Kind, names: readonly string[], act: (entry: LedgerEntry) => void): void {
    const entries = this.#live(kind).filter(({ name }) => names.includes(name));
    if (entries.length > 0) this.#journal.transaction(() => entries.forEach(act));
  }
}
