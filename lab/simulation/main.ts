/** `npm run simulate`: the real engine drives migrations of simulated VMs, with crashes and faults at every moment. */
import { Worker } from 'node:worker_threads';
import { programOptions } from '../program-options.ts';
import { runSchedule } from './schedule.ts';
import { shrink } from './shrink.ts';
import type { WorkerReport, WorkerTask } from './worker.ts';

/** How many stories are told. */
const STORIES = 5;

const USAGE = `
usage: npm run simulate -- [options]

Migrations of simulated VMs, driven by the real engine, with crashes and faults at every moment. A schedule that breaks a rule is
shrunk to a story of a few lines. The last line is "N schedules, N violations"; exit status 1 on any.

  --schedules N   how many (default: 10000)
  --seed S        of the first; the others have those after it (default: by the clock). With --schedules 1 it is run again
  --workers N     how many at once (default: 2)
  --libvirt       each VM is one of libvirt; else one of 100 is
  --trace         shows all that happened in the first
`;

const { values, number } = programOptions(USAGE, {
  schedules: { type: 'string', default: '10000' },
  seed: { type: 'string', default: String(Date.now() % 1_000_000) },
  workers: { type: 'string', default: '2' },
  libvirt: { type: 'boolean', default: false },
  trace: { type: 'boolean', default: false },
});
const asked = values.libvirt ? { layout: { libvirt: true } } : {};
const [schedules, seed, workers] = [number('schedules'), number('seed', 0), number('workers')];

const began = performance.now();
const ends = new Map<string, number>();
const failed: number[] = [];
const covered = new Set<string>();
let done = 0;

async function runWorker(task: WorkerTask): Promise<void> {
  const worker = new Worker(new URL('worker.ts', import.meta.url), { workerData: task });
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  worker.on('message', (report: WorkerReport) => {
    done += report.done;
    for (const [end, count] of Object.entries(report.ends)) ends.set(end, (ends.get(end) ?? 0) + count);
    failed.push(...report.failed);
    for (const what of report.covered) covered.add(what);
    const perSecond = (done / (performance.now() - began)) * 1000;
    if (process.stderr.isTTY) process.stderr.write(`\r${done} of ${schedules}, ${Math.round(perSecond)} per second `);
  });
  worker.once('error', reject);
  worker.once('exit', (status) => (status === 0 ? resolve() : reject(new Error(`a worker ended with ${status}`))));
  await promise;
}

console.log(`${schedules} schedules from seed ${seed} on, ${workers} workers`);
await Promise.all(
  Array.from({ length: workers }, async (_, n) => {
    const count = Math.floor(schedules / workers) + (n < schedules % workers ? 1 : 0);
    if (count > 0) await runWorker({ first: seed + n, step: workers, count, libvirt: values.libvirt });
  }),
);
const seconds = (performance.now() - began) / 1000;
if (process.stderr.isTTY) process.stderr.write('\n');
if (values.trace) console.log((await runSchedule({ seed, ...asked, keepTrace: true })).trace.join('\n'));
for (const broken of failed.toSorted((a, b) => a - b).slice(0, STORIES)) {
  const { lines } = await shrink(await runSchedule({ seed: broken, ...asked }));
  console.log(`\nseed ${broken}:\n${lines.map((line) => `  ${line}`).join('\n')}`);
}
if (failed.length > STORIES) console.log(`\n… and seeds ${failed.slice(STORIES, STORIES + 20).join(', ')}`);
for (const [end, count] of ends) console.log(`${end}: ${count}`);
const faults = [...covered].filter((what) => !what.startsWith('step '));
console.log(`${faults.length} different pairs of a fault and the effect that it came at`);
console.log(`${Math.round(seconds)} s, ${Math.round(schedules / seconds)} schedules per second`);
console.log(`${schedules} schedules, ${failed.length} violations`);
process.exitCode = failed.length > 0 ? 1 : 0;
