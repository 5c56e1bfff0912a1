import type { Fault } from './fault.ts';
import { MOST_WRITES } from './guest.ts';
import { type Parts, runSchedule, type ScheduleOptions, type ScheduleResult } from './schedule.ts';

/** A schedule that broke a rule, with as little in it as still breaks one. */
export interface Story extends ScheduleResult {
  /** What happened, in a few lines. */
  readonly lines: readonly string[];
}

/** Leaves out faults and guest writes for as long as a rule is broken, and tells what is left. */
export async function shrink({ seed, layout, faults }: ScheduleResult, parts: Parts = {}): Promise<Story> {
  const skip = new Set<number>();
  const breaks = async (with_: readonly Fault[], skipWrites: ReadonlySet<number>): Promise<boolean> =>
    (await runSchedule({ seed, layout, parts, faults: with_, skipWrites })).breach !== undefined;
  let left = faults;
  for (let n = faults.length - 1; n >= 0; n--) {
    const fewer = without(left, n);
    if (await breaks(fewer, skip)) left = fewer;
  }
  const all = new Set(Array.from({ length: MOST_WRITES }, (_, n) => n + 1));
  if (await breaks(left, all)) return await tell({ seed, layout, parts }, left, all);
  for (const write of all) {
    skip.add(write);
    if (!(await breaks(left, skip))) skip.delete(write);
  }
  return await tell({ seed, layout, parts }, left, skip);
}

/** Without one of them; those that follow keep their place. */
function without(faults: readonly Fault[], index: number): readonly Fault[] {
  const gone = faults[index];
  return faults.flatMap((fault, n) => {
    if (n === index) return [];
    return n === index + 1 && gone ? [{ ...fault, after: fault.after + gone.after }] : [fault];
  });
}

async function tell(
  schedule: Pick<ScheduleOptions, 'seed' | 'layout' | 'parts'>,
  faults: readonly Fault[],
  skip: ReadonlySet<number>,
): Promise<Story> {
  const result = await runSchedule({ ...schedule, faults, skipWrites: skip, keepTrace: true });
  return { ...result, lines: [result.about, ...lines(result.trace)] };
}

/** Faults with what came just before them, what managers say, and what led to the breach. */
function lines(trace: readonly string[]): string[] {
  const broken = trace.findIndex((line) => line.includes(' BROKEN '));
  const end = broken < 0 ? trace.length : broken + 1;
  const kept = new Set<number>();
  for (const [n, line] of trace.slice(0, end).entries()) {
    if (/ (?:FAULT|manager|BROKEN) /.test(line)) kept.add(n);
    if (/ FAULT /.test(line)) kept.add(n - 1);
    if (n >= end - 8 || /COMMIT RECORD|job-finalize|job-cancel/.test(line)) kept.add(n);
  }
  return trace.slice(0, end).filter((_, n) => kept.has(n));
}
