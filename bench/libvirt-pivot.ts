// How long a VM of libvirt stands still while its disks go over: by blockferry's calls on one connection, and by virsh's
// suspend, blockjob --pivot for each disk, resume. The same VM, the same mirrors, in turn.
//
//     node bench/libvirt-pivot.ts [--disks 1,2,8] [--runs 5]
//
// Figures are medians (minimum to maximum), in milliseconds, from before the suspend to after the resume; of virsh, from
// the start of the first to the end of the last process. The guest is not booted: nothing is written meanwhile, so what is
// measured is what libvirt, QEMU and the programs need.
import { mkdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { Lab, LabDomain, type LabDisk, LabLibvirtd } from '../lab/index.ts';
import { run } from '../src/base/index.ts';
import { formatJobName, type LibvirtVm } from '../src/vm/index.ts';

const MiB = 2 ** 20;
const { values: options } = parseArgs({
  options: { disks: { type: 'string', default: '1,2,8' }, runs: { type: 'string', default: '5' } },
});

const settings = { direct: false, detectZeroes: 'off', discard: 'ignore' } as const;

/** Puts a mirror on each disk, from its active image to a new overlay of the same base, and waits until all are ready. */
async function mirrored(lab: Lab, vm: LibvirtVm, disks: readonly LabDisk[], folder: string): Promise<string[]> {
  mkdirSync(folder, { recursive: true });
  const mirrors = [];
  for (const { id, path = '' } of disks) {
    const from = (await vm.activeNode(id)) ?? '';
    const to = join(folder, `${id}.overlay`);
    await lab.image({ path: to, format: 'qcow2', backing: { path, format: 'qcow2' } });
    const job = formatJobName({ kind: 'copy', disk: id, from, to });
    mirrors.push({ disk: id, job, source: from, node: to, fileNode: to, path: to, base: path, settings });
  }
  await vm.startMirrors(mirrors, () => Promise.resolve());
  const ids = mirrors.map(({ job }) => job);
  while (!(await vm.jobs(ids)).every(({ status }) => status === 'ready')) await vm.jobChange(ids, 200);
  return ids;
}

async function byBlockferry(vm: LibvirtVm, jobs: readonly string[]): Promise<number> {
  const began = performance.now();
  await vm.hold(jobs, Number.POSITIVE_INFINITY, () => Promise.resolve());
  await vm.release();
  await vm.wake();
  return performance.now() - began;
}

async function byVirsh(uri: string, name: string, disks: readonly LabDisk[]): Promise<number> {
  const virsh = async (...args: string[]): Promise<void> => void (await run('virsh', ['-c', uri, ...args]));
  const began = performance.now();
  await virsh('suspend', name);
  for (const { id } of disks) await virsh('blockjob', name, id, '--pivot');
  await virsh('resume', name);
  return performance.now() - began;
}

function figures(all: readonly number[]): string {
  const sorted = all.toSorted((a, b) => a - b);
  const at = (index: number): string => (sorted[index] ?? 0).toFixed(0).padStart(5);
  return `${at(Math.floor(sorted.length / 2))} (${at(0)} to ${at(sorted.length - 1)})`;
}

await using lab = await Lab.open({ name: 'libvirt-pivot' });
const daemon = await LabLibvirtd.start(lab);
for (const count of options.disks.split(',').map(Number)) {
  const source = await lab.storage(`source${count}`);
  const disks: LabDisk[] = [];
  for (let n = 0; n < count; n += 1) {
    const base = join(source, `disk${n}.qcow2`);
    await lab.image({ path: base, format: 'qcow2', size: 64 * MiB });
    disks.push({ id: `vd${'abcdefghijklmnop'[n]}`, path: base, format: 'qcow2' });
  }
  const name = `vm${count}`;
  const domain = await LabDomain.start(lab, daemon, { name, disks });
  await using vm = await domain.connect();
  const first = join(lab.folder, `first${count}`);
  mkdirSync(first);
  const overlays = [];
  for (const { id, path = '' } of disks) {
    const overlay = join(first, id);
    await lab.image({ path: overlay, format: 'qcow2', backing: { path, format: 'qcow2' } });
    overlays.push({ disk: id, node: overlay, path: overlay, base: path, settings });
  }
  await vm.snapshot(overlays);
  const ours: number[] = [];
  const theirs: number[] = [];
  for (let turn = 0; turn < 2 * Number(options.runs); turn += 1) {
    const folder = join(lab.folder, `to${count}-${turn % 2}`);
    rmSync(folder, { recursive: true, force: true });
    const jobs = await mirrored(lab, vm, disks, folder);
    if (turn % 2 === 0) ours.push(await byBlockferry(vm, jobs));
    else theirs.push(await byVirsh(daemon.uri(), name, disks));
  }
  console.log(`${count} disk(s): blockferry ${figures(ours)}   virsh ${figures(theirs)}`);
  await domain.vm.kill();
}
