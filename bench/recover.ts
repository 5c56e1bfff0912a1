/**
 * `node bench/recover.ts [--runs N] [--program PATH]`: how long a guest that a dead manager has left held waits from the start of
 * `blockferry recover` on. The manager is killed when all mirrors are pending, before the commit record; a monitor of our own
 * sees when they are no longer. With 1, 2 and 8 disks; then with a second migration whose monitor does not answer.
 *
 * From a checkout Node strips the types of each file at each start; `npm run build`, then `--program dist/lib/cli/main.js`,
 * is what is published.
 */
import { spawn } from 'node:child_process';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { fileURLToPath } from 'node:url';
import { Lab, type LabDisk, type LabVm } from '../lab/index.ts';
import { MigrationProcess } from '../lab/migration-process.ts';
import { QmpClient } from '../src/qmp/index.ts';

const MiB = 2 ** 20;
const { values } = parseArgs({
  options: {
    runs: { type: 'string', default: '5' },
    program: { type: 'string', default: fileURLToPath(new URL('../bin/blockferry', import.meta.url)) },
  },
});

async function startVm(lab: Lab, name: string, count: number): Promise<{ vm: LabVm; target: string }> {
  const source = await lab.storage(`${name}-source`);
  const disks: LabDisk[] = [];
  for (let n = 0; n < count; n++) {
    const path = join(source, `d${n}.qcow2`);
    await lab.image({ path, format: 'qcow2', size: 64 * MiB, fill: { bytes: 4 * MiB, seed: n + 1 } });
    disks.push({ id: `d${n}`, path, format: 'qcow2' });
  }
  return {
    vm: await lab.startVm({ name, disks, boot: false, monitors: 2 }),
    target: await lab.storage(`${name}-target`),
  };
}

/** @returns milliseconds from the start of the process to the moment at which no job is pending */
async function timeToFree(vm: LabVm, target: string, stateDir: string): Promise<number> {
  const death = { step: 'pivot', when: 'held' } as const;
  const manager = new MigrationProcess({ qmpPath: vm.qmpPath, stateDir, request: { to: target }, death });
  if ((await manager.outcome()) !== undefined) throw new Error('the manager was not killed');
  await using monitor = await QmpClient.connect({ path: vm.qmpPaths[1] ?? '' });
  const began = performance.now();
  const recovery = spawn(values.program, ['recover', '--state-dir', stateDir], { stdio: 'ignore' });
  const ended = new Promise<void>((resolve) => void recovery.once('close', () => resolve()));
  let jobs = await monitor.execute('query-jobs');
  while (jobs.some(({ status }) => status === 'pending')) jobs = await monitor.execute('query-jobs');
  const ms = performance.now() - began;
  await ended;
  return ms;
}

function report(what: string, times: readonly number[]): void {
  const sorted = times.toSorted((a, b) => a - b);
  const of = (share: number): string => (sorted[Math.floor(share * (sorted.length - 1))] ?? 0).toFixed(0);
  console.log(`${what}: median ${of(0.5)} ms, longest ${of(1)} ms (${times.length} runs)`);
}

for (const count of [1, 2, 8]) {
  await using lab = await Lab.open({ name: 'bench recover' });
  const stateDir = await lab.storage('state');
  const { vm, target } = await startVm(lab, 'held', count);
  const times: number[] = [];
  for (let run = 0; run < Number(values.runs); run++) times.push(await timeToFree(vm, target, stateDir));
  report(`${count} disks`, times);
}

await using lab = await Lab.open({ name: 'bench recover' });
const stateDir = await lab.storage('state');
const silent = await startVm(lab, 'silent', 1);
const left = { step: 'copy', when: 'before' } as const;
await new MigrationProcess({
  qmpPath: silent.vm.qmpPath,
  stateDir,
  request: { to: silent.target },
  death: left,
}).outcome();
await using holder = await QmpClient.connect({ path: silent.vm.qmpPath });
const { vm, target } = await startVm(lab, 'held', 2);
report(`2 disks, beside a migration whose monitor is ${holder.state === 'ready' ? 'held' : 'lost'}`, [
  await timeToFree(vm, target, stateDir),
]);
