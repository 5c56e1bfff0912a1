import type { Fault } from './fault.ts';
import { runSchedule, type ScheduleOptions } from './schedule.ts';

/** A fault at an effect: the nth of this name. */
export const at = (name: string, kind: Fault['kind'], when: Fault['when'] = 'before', nth = 1): Fault => ({
  at: name,
  kind,
  when,
  after: nth,
});

/** Runs a schedule with so many orders of events. @returns what led to the first rule that was broken */
export async function brokenRule(story: Omit<ScheduleOptions, 'seed'>, seeds: number): Promise<string | undefined> {
  for (let seed = 1; seed <= seeds; seed++) {
    const { breach, trace } = await runSchedule({ ...story, seed, keepTrace: true });
    if (breach !== undefined) return `seed ${seed}: ${breach}\n${trace.slice(-30).join('\n')}`;
  }
  return undefined;
}
