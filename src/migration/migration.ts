import {
  type Clock,
  errnoOf,
  type FerryError,
  ferryError,
  FerryError as Failure,
  isFerryError,
  messageOf,
  systemClock,
} from '../base/index.ts';
import { CopyControl } from '../image/index.ts';
import type { VirtualMachine } from '../vm/index.ts';
import { controlHandler } from './control.ts';
import type { MigrationEvent, ProgressReport } from './event.ts';
import type { Host } from './host.ts';
import type { MigrationJournal } from './migration-journal.ts';
import { realHost } from './real-host.ts';
import { heedMarks } from './swap/commit-record.ts';
import { freeGuest } from './swap/free-guest.ts';
import { nextStep, type Progress, type StepState } from './next-step.ts';
import type { MigrationPlan } from './plan/plan.ts';
import { RateMeter } from './rate-meter.ts';
import { Ledger, type Run } from './run.ts';
import { type ControlChange, RunControl, Stopped } from './run-control.ts';
import { isStepName, type StepName, STEPS } from './step-name.ts';
import { STEP, type StepTable } from './steps/index.ts';
import { attended } from './storage-answers.ts';

export interface MigrationDeps {
  readonly journal: MigrationJournal;
  readonly vm: VirtualMachine;
  /** Default: this host. */
  readonly host?: Host;
  readonly clock?: Clock;
  readonly onEvent?: (event: MigrationEvent) => void;
  readonly onProgress?: (progress: ProgressReport) => void;
  /** The steps to run; for tests that need a failure at an exact moment. Default: the real ones. */
  readonly steps?: StepTable;
}

/** How driving a migration ended. */
export type Outcome =
  | { readonly kind: 'done'; readonly message: string }
  | { readonly kind: 'rolled-back'; readonly message: string; readonly cause?: FerryError }
  /** Unfinished: a person has to look. Both sides are as the message says. */
  | { readonly kind: 'attention'; readonly message: string; readonly cause: FerryError }
  /** Unfinished on purpose: the disks stay mirrored, and it can be gone on with. */
  | { readonly kind: 'left'; readonly message: string }
  /** A mirrored snapshot that stands, as its user wants it. */
  | { readonly kind: 'mirrored'; readonly message: string };

/** How long a QEMU whose monitor was closed is given to end, in milliseconds. */
const ENDS_WITHIN_MS = 3000;

/** How often the last progress of a thing is written to the journal, in milliseconds. */
const SAVE_PROGRESS_EVERY_MS = 1000;

/** One migration, driven by this process. */
export class Migration implements AsyncDisposable {
  readonly plan: MigrationPlan;
  readonly control: RunControl;
  readonly #deps: MigrationDeps;
  readonly #clock: Clock;
  readonly #owner: AsyncDisposable;
  readonly #run: Run;
  readonly #steps: StepTable;
  readonly #meters = new Map<string, { meter: RateMeter; savedAt: number }>();

  private constructor(plan: MigrationPlan, control: RunControl, owner: AsyncDisposable, deps: MigrationDeps) {
    this.plan = plan;
    this.control = control;
    this.#owner = owner;
    this.#steps = deps.steps ?? STEP;
    this.#deps = deps;
    this.#clock = deps.clock ?? systemClock;
    control.onChange = (change) => this.#evenUnrecorded(() => this.#onControl(change));
    const { vm, journal, host = realHost } = deps;
    this.#run = {
      plan,
      vm,
      host,
      journal,
      ledger: new Ledger(journal, host, plan.id),
      clock: this.#clock,
      control,
      emit: (event) => this.#emit(event),
      report: (progress) => this.#report(progress),
    };
  }

  /**
   * Writes the plan to the journal and takes the migration. Nothing is touched yet.
   * @throws FerryError MIGRATION_EXISTS when the VM has an unfinished one
   */
  static async begin(plan: MigrationPlan, deps: MigrationDeps): Promise<Migration> {
    const { id, vm, request } = plan;
    const control = new RunControl(new CopyControl({ speed: request.bandwidth }));
    // Owned before it is in the journal: who finds it there finds its owner as well.
    const owner = await claim(id, control, deps);
    try {
      const { name, uuid, process, address, host } = vm;
      deps.journal.addMigration({ id, vm: { name, uuid, process, address, host }, plan, options: request });
    } catch (error) {
      await owner[Symbol.asyncDispose]();
      throw error;
    }
    const migration = new Migration(plan, control, owner, deps);
    migration.#emit({ type: 'started', vm: vm.name, disks: plan.disks.map((disk) => disk.id) });
    return migration;
  }

  /**
   * Goes on with an unfinished migration that nobody drives. A guest whose I/O is held since somebody died is free when
   * this resolves.
   * @throws FerryError MIGRATION_OWNED, MIGRATION_FINISHED; VM_REPLACED when the QEMU behind `deps.vm` is not the one that
   *   it began with: a VM that was started anew knows nothing of its overlays, and a rollback would remove what they hold
   */
  static async takeOver(id: string, deps: MigrationDeps): Promise<Migration> {
    const row = deps.journal.migration(id);
    if (row.state === 'done' || row.state === 'rolled-back') {
      throw ferryError('MIGRATION_FINISHED', { id, state: row.state });
    }
    const { name, address, process: known } = deps.vm.identity;
    if (known !== row.vm.process) throw ferryError('VM_REPLACED', { vm: name, address });
    const plan = row.plan as MigrationPlan;
    const control = new RunControl(new CopyControl({ speed: plan.request.bandwidth }));
    const owner = await claim(id, control, deps);
    const migration = new Migration(plan, control, owner, deps);
    migration.#emit({ type: 'taken-over', pid: process.pid });
    await heedMarks(migration.#run);
    if (row.state !== 'rolling-back')
      deps.journal.update(id, { state: row.goal === 'back' ? 'rolling-back' : 'running' });
    await migration.#freeGuest();
    return migration;
  }

  /**
   * Drives it to its end. Never throws for what happens to the migration: the outcome tells.
   * @param seeThrough of a mirrored snapshot: over to the mirrors. Without it, it goes as far as that the disks are mirrored
   */
  async run({ seeThrough = false }: { readonly seeThrough?: boolean } = {}): Promise<Outcome> {
    try {
      return await this.#drive(seeThrough);
    } catch (error) {
      // Without a journal nothing may be done, not even be taken back.
      return this.#unrecorded(asFailure(error));
    }
  }

  async #drive(seeThrough: boolean): Promise<Outcome> {
    let cause: FerryError | undefined;
    // A storage that is gone must not keep the guest from going back: what cannot be undone is passed over, and told in
    // the end. The steps before it look for themselves whether something of it is in their way.
    const failedUndo = new Map<StepName, FerryError>();
    for (;;) {
      if (this.control.stopped === 'abort') this.#turnBack('it was aborted');
      if (this.control.stopped === 'leave') return this.#left();
      const next = nextStep(this.#progress(new Set(failedUndo.keys())));
      const [failed] = failedUndo;
      if (next.kind === 'finish' && failed) return this.#attention({ kind: 'undo', step: failed[0] }, failed[1]);
      if (next.kind === 'finish') return this.#finish(next.outcome, cause);
      if (!seeThrough && next.kind === 'do' && this.#stands(next.step)) return this.#mirrored();
      await this.#gate(next.kind);
      try {
        if (next.kind === 'do') await this.#do(next.step);
        else await this.#undo(next.step);
      } catch (error) {
        if (error instanceof Stopped) continue;
        const failure = asFailure(error);
        this.#failed(next.step, failure);
        if (await this.#vmHasEnded(failure)) {
          const { id, vm } = this.plan;
          return this.#attention(next, ferryError('VM_ENDED', { vm: vm.name, id }, { cause: failure }));
        }
        const { goal, committed } = this.#progress();
        if (next.kind === 'undo') {
          failedUndo.set(next.step, failure);
          continue;
        }
        if (committed || goal === 'back') return this.#attention(next, failure);
        cause = failure;
        this.#turnBack(failure.message);
      }
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#owner[Symbol.asyncDispose]();
  }

  /** A failure is told only: the step that was interrupted tries it again, and decides. */
  async #freeGuest(): Promise<void> {
    const begun = this.#deps.journal.steps(this.plan.id).some(({ step }) => step === 'pivot');
    try {
      const freed = await freeGuest(this.#run);
      if (freed === undefined) return;
      this.#emit({ type: 'freed', ...freed });
      if (freed.kind === 'pivot' && begun) this.#turnBack('its swap was broken off before the commit record');
    } catch (error) {
      this.#emit({ type: 'warning', message: `the guest may still be held: ${messageOf(error)}` });
    }
  }

  async #do(name: StepName): Promise<void> {
    const { journal } = this.#deps;
    const step = this.#steps[name];
    const began = this.#clock.monotonic();
    this.#emit({ type: 'step', step: name, state: 'begun' });
    journal.intendStep(this.plan.id, name);
    step.intend(this.#run);
    const confirmed = await attended(this.#run, async () => {
      if ((await step.look(this.#run)) === 'open') await step.act(this.#run);
      return await step.confirm(this.#run);
    });
    journal.confirmStep(this.plan.id, name, confirmed);
    this.#emit({ type: 'step', step: name, state: 'done', ms: this.#clock.monotonic() - began });
  }

  async #undo(name: StepName): Promise<void> {
    const { journal } = this.#deps;
    this.#emit({ type: 'step', step: name, state: 'undoing' });
    journal.undoingStep(this.plan.id, name);
    await attended(this.#run, () => this.#steps[name].undo(this.#run));
    journal.undoneStep(this.plan.id, name);
    this.#emit({ type: 'step', step: name, state: 'undone' });
  }

  /** While paused, no further step forward is begun. The way back is not held up. */
  async #gate(kind: 'do' | 'undo'): Promise<void> {
    if (kind === 'do') await this.control.unpaused();
  }

  #onControl(change: ControlChange): void {
    const { journal } = this.#deps;
    const { state } = journal.migration(this.plan.id);
    if (change.type === 'paused' && state === 'running') journal.update(this.plan.id, { state: 'paused' });
    if (change.type === 'resumed' && state === 'paused') journal.update(this.plan.id, { state: 'running' });
    this.#emit(change);
  }

  /** @param passedOver steps that could not be undone just now */
  #progress(passedOver: ReadonlySet<StepName> = new Set()): Progress {
    const { journal } = this.#deps;
    const { id, request } = this.plan;
    const steps = new Map<StepName, StepState>();
    for (const { step, state } of journal.steps(id)) {
      if (isStepName(step)) steps.set(step, passedOver.has(step) ? 'undone' : state);
    }
    return {
      steps,
      committed: journal.commitRecord(id, 'pivot') !== undefined,
      goal: journal.migration(id).goal,
      request,
      mirrorLast: this.plan.suspendedSwap ?? false,
    };
  }

  /** After the commit record there is no way back: then it does nothing. */
  #turnBack(reason: string): void {
    const { goal, committed } = this.#progress();
    if (goal === 'back' || committed) return;
    this.#deps.journal.update(this.plan.id, { goal: 'back', state: 'rolling-back', message: reason });
  }

  #failed(step: StepName, { code, message, remedy }: FerryError): void {
    this.#emit({ type: 'failed', step, code, message, remedy });
  }

  #finish(kind: 'done' | 'rolled-back', cause: FerryError | undefined): Outcome {
    const { journal } = this.#deps;
    const { vm, disks, id } = this.plan;
    const names = disks.map((disk) => disk.id).join(', ');
    const message =
      kind === 'done'
        ? `${names} of ${vm.name}: moved; the guest runs on the target`
        : `${names} of ${vm.name}: rolled back, the guest goes on at the source (${journal.migration(id).message ?? 'aborted'})`;
    journal.update(id, { state: kind, message });
    this.#emit({ type: 'finished', outcome: kind, message });
    return kind === 'done' ? { kind, message } : { kind, message, ...(cause && { cause }) };
  }

  #attention(at: { readonly kind: 'do' | 'undo'; readonly step: StepName }, cause: FerryError): Outcome {
    const { committed } = this.#progress();
    const side = committed ? 'target' : 'source';
    const where = `The ${side} is the truth for every disk: it holds every acknowledged write.`;
    const what = at.kind === 'undo' ? `undoing ${at.step} failed` : `${at.step} failed`;
    const message = `${what}: ${cause.message}. ${where} Go on with: blockferry resume ${this.plan.id}`;
    this.#deps.journal.update(this.plan.id, { state: 'attention', message });
    this.#emit({ type: 'finished', outcome: 'attention', message });
    return { kind: 'attention', message, cause };
  }

  /** Whether this is a mirrored snapshot of which nothing but its end remains to be done. */
  #stands(next: StepName): boolean {
    if (this.plan.request.snapshot === undefined || this.#progress().committed) return false;
    return STEPS.indexOf(next) > STEPS.indexOf('mirror');
  }

  #mirrored(): Outcome {
    const { vm, request } = this.plan;
    const name = request.snapshot?.name ?? this.plan.id;
    const message = `the mirrored snapshot '${name}' of ${vm.name} stands; end it with 'blockferry snapshot-delete ${vm.name} ${name}' and --mirror-pivot or --mirror-abort`;
    this.#emit({ type: 'finished', outcome: 'mirrored', message });
    return { kind: 'mirrored', message };
  }

  /** The outcome is not in the journal either: `status` shows the last that could be written. */
  #unrecorded(cause: FerryError): Outcome {
    const { id, vm } = this.plan;
    const message = `${cause.message}. The guest of ${vm.name} goes on, and everything stays as it is now; \`blockferry status ${id}\` shows the last that could be recorded. Go on with: blockferry resume ${id}`;
    return { kind: 'attention', message, cause };
  }

  /** A QEMU that ends closes its monitor a little before its process is gone. */
  async #vmHasEnded({ code }: FerryError): Promise<boolean> {
    const { vm } = this.#deps;
    const until = this.#clock.monotonic() + (code.startsWith('QMP_') && code !== 'QMP_COMMAND' ? ENDS_WITHIN_MS : 0);
    while (!(await vm.hasEnded())) {
      if (this.#clock.monotonic() >= until) return false;
      await this.#clock.sleep(20);
    }
    return true;
  }

  #left(): Outcome {
    const { id } = this.plan;
    const message = `nobody drives the migration now; go on with 'blockferry resume ${id}' or undo it with 'blockferry abort ${id}'`;
    this.#emit({ type: 'finished', outcome: 'left', message });
    return { kind: 'left', message };
  }

  #emit(event: MigrationEvent): void {
    const { type, ...payload } = event;
    this.#deps.journal.emit(this.plan.id, type, payload);
    this.#deps.onEvent?.(event);
  }

  #report(progress: ProgressReport): void {
    const key = `${progress.phase} ${progress.key}`;
    const now = this.#clock.monotonic();
    const known = this.#meters.get(key) ?? { meter: new RateMeter(), savedAt: Number.NEGATIVE_INFINITY };
    this.#meters.set(key, known);
    const rate = known.meter.sample(now, progress.done);
    const report = rate === undefined ? progress : { ...progress, rate };
    if (now - known.savedAt >= SAVE_PROGRESS_EVERY_MS || progress.done === progress.total) {
      known.savedAt = now;
      const { phase, done, total } = report;
      this.#evenUnrecorded(() => {
        const progress = { phase, done, total, ...(rate !== undefined && { rate }) };
        this.#deps.journal.saveProgress(this.plan.id, key, progress);
      });
    }
    this.#deps.onProgress?.(report);
  }

  /** Nothing is decided by it, so nothing fails with it: a journal without space is told by what needs to be written. */
  #evenUnrecorded(write: () => void): void {
    try {
      write();
    } catch (error) {
      if (!isFerryError(error, 'JOURNAL_WRITE', 'JOURNAL_OUTCOME')) throw error;
    }
  }
}

async function claim(id: string, control: RunControl, deps: MigrationDeps): Promise<AsyncDisposable> {
  const { journal, clock, host = realHost } = deps;
  const owner = await host.claim(journal.dir, id, controlHandler(id, control, journal), clock);
  if (owner === undefined) throw ferryError('MIGRATION_OWNED', { id });
  return owner;
}

function asFailure(error: unknown): FerryError {
  if (error instanceof Failure) return error;
  const reason = messageOf(error);
  // What the kernel refuses is the storage's doing.
  if (errnoOf(error) !== undefined) return ferryError('STORAGE_FAILED', { reason }, { cause: error });
  return ferryError('INTERNAL', { what: reason }, { cause: error });
}
