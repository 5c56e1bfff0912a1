import { parentPort, workerData } from 'node:worker_threads';
import { runSchedule } from './schedule.ts';

/** Which seeds a worker has to run. */
export interface WorkerTask {
  readonly first: number;
  readonly step: number;
  readonly count: number;
  /** All of them with VMs of libvirt. */
  readonly libvirt: boolean;
}

/** What a worker tells when it has run some more of its schedules. */
export interface WorkerReport {
  readonly done: number;
  readonly ends: Readonly<Record<string, number>>;
  /** Seeds that broke a rule. */
  readonly failed: readonly number[];
  readonly covered: readonly string[];
}

/** How many schedules a report is about. */
const AT_ONCE = 500;

// Most errors here are meant to happen, and where they were made is not looked at.
Error.stackTraceLimit = 0;

const { first, step, count, libvirt } = workerData as WorkerTask;
for (let done = 0; done < count; done += AT_ONCE) {
  const ends: Record<string, number> = {};
  const failed: number[] = [];
  const covered = new Set<string>();
  const now = Math.min(AT_ONCE, count - done);
  for (let n = done; n < done + now; n++) {
    const result = await runSchedule({ seed: first + n * step, ...(libvirt && { layout: { libvirt } }) });
    const end = result.breach === undefined ? (result.end ?? 'no end') : 'a rule broken';
    ends[end] = (ends[end] ?? 0) + 1;
    if (result.breach !== undefined) failed.push(result.seed);
    for (const what of result.covered) covered.add(what);
  }
  // oxlint-disable-next-line unicorn/require-post-message-target-origin -- that is a window's; this is a port
  parentPort?.postMessage({ done: now, ends, failed, covered: [...covered] } satisfies WorkerReport);
}
