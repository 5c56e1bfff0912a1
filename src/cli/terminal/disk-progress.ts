import type { MigrationEvent, MigrationPlan, ProgressReport, StepName } from '../../migration/index.ts';

/** What is shown of one disk. Sizes in bytes; `done` and `total` only where the phase has such. */
export interface DiskRow {
  readonly disk: string;
  readonly phase: string;
  readonly done?: number;
  readonly total?: number;
  /** Bytes per second lately. */
  readonly rate?: number;
}

const PHASE: { readonly [S in StepName]: string } = {
  prepare: 'preparing',
  snapshot: 'snapshot',
  mirror: 'mirroring',
  copy: 'copying',
  verify: 'verifying',
  attach: 'attaching',
  pivot: 'swapping',
  fold: 'folding',
  clean: 'cleaning',
};

type MeasuredPhase = ProgressReport['phase'];

/** The steps that report bytes. */
const MEASURED: { readonly [S in StepName]?: MeasuredPhase } = {
  mirror: 'mirror',
  copy: 'copy',
  verify: 'verify',
  fold: 'fold',
};

/**
 * How far each disk is, put together from the events and reports of a migration. An image that several disks stand on
 * is copied once and counts for each of them.
 */
export class DiskProgress {
  readonly #disks: readonly string[];
  readonly #copies: MigrationPlan['copies'];
  readonly #reports = new Map<string, ProgressReport>();
  #step: StepName | undefined;
  #phase = 'starting';
  #paused = false;

  constructor(plan: Pick<MigrationPlan, 'copies'> & { readonly disks: readonly { readonly id: string }[] }) {
    this.#disks = plan.disks.map(({ id }) => id);
    this.#copies = plan.copies;
  }

  event(event: MigrationEvent): void {
    if (event.type === 'paused' || event.type === 'resumed') this.#paused = event.type === 'paused';
    if (event.type !== 'step') return;
    if (event.state === 'begun') {
      this.#step = event.step;
      this.#phase = PHASE[event.step];
    } else if (event.state === 'undoing') {
      this.#step = undefined;
      this.#phase = `undoing ${event.step}`;
    }
  }

  report(report: ProgressReport): void {
    this.#reports.set(`${report.phase} ${report.key}`, report);
  }

  rows(): readonly DiskRow[] {
    const measured = this.#step && MEASURED[this.#step];
    const phase = this.#paused ? 'paused' : this.#phase;
    return this.#disks.map((disk) => ({ disk, phase, ...(measured && this.#measure(measured, disk)) }));
  }

  #measure(phase: MeasuredPhase, disk: string): Omit<DiskRow, 'disk' | 'phase'> {
    if (phase === 'mirror' || phase === 'fold') {
      const report = this.#reports.get(`${phase} ${disk}`);
      return report ? sum([report], this.#paused) : {};
    }
    const copies = this.#copies.filter(({ disks }) => disks.includes(disk));
    const parts = copies.map(
      ({ target, allocated }) => this.#reports.get(`${phase} ${target}`) ?? { done: 0, total: allocated },
    );
    return sum(parts, this.#paused);
  }
}

function sum(
  parts: readonly Pick<ProgressReport, 'done' | 'total' | 'rate'>[],
  paused: boolean,
): Omit<DiskRow, 'disk' | 'phase'> {
  let done = 0;
  let total = 0;
  let rate = 0;
  for (const part of parts) {
    done += part.done;
    total += part.total;
    if (part.done < part.total) rate += part.rate ?? 0;
  }
  return { done, total, ...(rate > 0 && !paused && { rate }) };
}
