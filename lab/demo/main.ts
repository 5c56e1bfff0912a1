/**
 * `npm run demo`: a real guest with two disks under steady writes; its disks are moved to another storage by the command
 * line that everybody uses; then every acknowledged write is looked for where the disks are now. Exit status 0 only when
 * all of it is true.
 */
import { createHash } from 'node:crypto';
import { readdir } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { formatSize, messageOf } from '../../src/base/index.ts';
import { Journal } from '../../src/journal/index.ts';
import { loadedVm } from '../engine.ts';
import { Lab, LabError, type LabVm, openChain } from '../index.ts';
import { runCommand } from './run-command.ts';
import { Screen } from './screen.ts';

const MiB = 2 ** 20;
const SIZE = 256 * MiB;
/** What the guest writes to, half of it unallocated at first: where a careless mirror loses data without a word. */
const WRITTEN = { offset: 64 * MiB, length: 128 * MiB };
/** What it leaves alone, and checksums before and after. */
const UNTOUCHED = { offset: 0, length: 32 * MiB };
const WRITES_PER_SECOND = 150;
const BLOCKFERRY = fileURLToPath(new URL('../../bin/blockferry', import.meta.url));

async function demo(screen: Screen): Promise<void> {
  await using lab = await Lab.open({ name: 'demo' });
  screen.title(`A guest with two disks (QEMU ${lab.build.version}, emulated)`);
  const loaded = await loadedVm(lab, {
    name: 'demo',
    sourceName: 'old-storage',
    targetName: 'new-storage',
    disks: (folder) =>
      Promise.all(
        ['system', 'data'].map(async (id, index) => {
          const path = join(folder, `${id}.qcow2`);
          await lab.image({ path, format: 'qcow2', size: SIZE, fill: { bytes: 128 * MiB, seed: index + 1 } });
          return { id, path, format: 'qcow2' as const };
        }),
      ),
    writers: (disks) =>
      disks.map(({ id }, index) => ({ disk: id, seed: index + 1, region: WRITTEN, rate: WRITES_PER_SECOND })),
  });
  const { vm, source, target, stateDir, writers } = loaded;
  screen.line(`it has booted, and writes 4 KiB blocks at random to both disks; each acknowledged write is recorded`);
  const checksums = await guestChecksums(vm);
  screen.line(`its own sha256 of ${formatSize(UNTOUCHED.length)} of each disk that it leaves alone is noted`);

  const common = ['--state-dir', stateDir, '--qmp', vm.qmpPath, '--to', target];
  screen.title('What would be done');
  screen.command('blockferry', 'plan', ...common);
  await runCommand(BLOCKFERRY, ['plan', ...common]);
  screen.title('The migration');
  screen.command('blockferry', 'migrate', '--yes', ...common);
  await runCommand(BLOCKFERRY, ['migrate', '--yes', ...common]);

  screen.title('Was anything lost?');
  await Promise.all(writers.map((writer) => writer.advanced(100)));
  screen.line('the guest goes on writing, now to the new storage; it is told to stop, and everything is compared');
  const checks = await loaded.check(({ path = '' }) => join(target, basename(path)));
  const acknowledged = checks.reduce((sum, check) => sum + check.acknowledged, 0);
  const lost = checks.reduce((sum, check) => sum + check.lostCount, 0);
  const damaged = checks.reduce((sum, check) => sum + check.damagedCount, 0);
  screen.check(damaged === 0, `${damaged} blocks changed that the guest never wrote`);
  const now = await guestChecksums(vm);
  screen.check(sameChecksums(checksums, now), 'the guest reads what it read before from the part that it left alone');
  screen.check(await storageAgrees(target, now), 'the image files on the new storage hold the same, by the host');
  const errors = await vm.ioErrors();
  screen.check(
    errors.length === 0,
    `${errors.length} I/O errors in the guest${errors[0] === undefined ? '' : `: ${errors[0]}`}`,
  );
  screen.check((await readdir(source)).length === 0, `nothing is left in ${basename(source)}`);
  const moved = (await readdir(target)).toSorted();
  screen.check(
    moved.join() === 'data.qcow2,system.qcow2',
    `${basename(target)} has ${moved.join(', ')} and nothing else`,
  );
  await vm.stop();
  screen.check((await vm.exited).status === 0, 'the guest has shut down');

  const held = heldMs(stateDir);
  screen.check(held !== undefined, 'the swap is in the journal');
  screen.title('Result');
  screen.line(`guest I/O held ${held?.toFixed(1)} ms`);
  screen.line(`${lost} acknowledged writes lost of ${acknowledged}`);
  if (lost > 0) screen.check(false, `lost: ${JSON.stringify(checks.flatMap((check) => check.lost).slice(0, 3))}`);
}

/** The guest's own sha256 of the part of each disk that it does not write to. */
async function guestChecksums(vm: LabVm): Promise<ReadonlyMap<string, string>> {
  const sums = new Map<string, string>();
  for (const { id } of vm.disks) sums.set(id, await vm.checksum(id, UNTOUCHED));
  return sums;
}

function sameChecksums(a: ReadonlyMap<string, string>, b: ReadonlyMap<string, string>): boolean {
  return [...a].every(([id, sum]) => b.get(id) === sum);
}

/** Whether the files hold what the guest reads, seen from outside of it. */
async function storageAgrees(folder: string, sums: ReadonlyMap<string, string>): Promise<boolean> {
  for (const [id, sum] of sums) {
    await using chain = await openChain(join(folder, `${id}.qcow2`), 'qcow2');
    const bytes = await chain.read(UNTOUCHED.offset, UNTOUCHED.length);
    if (createHash('sha256').update(bytes).digest('hex') !== sum) return false;
  }
  return true;
}

/** How long the guest's I/O was held at the swap, in milliseconds, as the journal has it. */
function heldMs(stateDir: string): number | undefined {
  using journal = Journal.open(stateDir, { readOnly: true });
  for (const { type, payload } of journal.events()) {
    const { kind, ms } = payload as { kind?: string; ms?: number };
    if (type === 'held' && kind === 'pivot') return ms;
  }
  return undefined;
}

const screen = new Screen(process.stdout);
try {
  await demo(screen);
} catch (error) {
  screen.check(false, error instanceof LabError ? error.message : `it stopped: ${messageOf(error)}`);
}
process.exitCode = screen.failed ? 1 : 0;
