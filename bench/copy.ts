// Copies images in the three ways that QEMU's tools and coreutils offer, and in ours, and prints how they compare.
//
//     node bench/copy.ts [MIB per image, default 256] [folder, default the one for temporary files]
//
// Each figure is the median of three runs that end with the copy on the storage. CPU is that of the tools themselves.
import { execFileSync, spawn } from 'node:child_process';
import { closeSync, mkdtempSync, openSync, readFileSync, rmSync, statSync, truncateSync, writeSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { CopyControl, copyImages, syncFile, verifyCopy } from '../src/image/index.ts';

const MiB = 2 ** 20;
const RUNS = 3;
const size = Number(process.argv[2] ?? 256) * MiB;
const folder = mkdtempSync(join(process.argv[3] ?? tmpdir(), 'bench-copy-'));
const owner = { uid: process.getuid?.() ?? 0, gid: process.getgid?.() ?? 0, mode: 0o600 };

interface Pair {
  readonly source: string;
  readonly target: string;
}

const WAYS: Readonly<Record<string, (pairs: readonly Pair[]) => Promise<void>>> = {
  'copyImages (mirror job)': async (pairs) => {
    await copyImages(pairs.map(({ source, target }) => ({ source: { path: source }, target, owner })));
  },
  'qemu-img convert': async (pairs) => await runAll(pairs, 'qemu-img', ['convert', '-f', 'raw', '-O', 'raw']),
  'qemu-img convert -t none': async (pairs) =>
    await runAll(pairs, 'qemu-img', ['convert', '-t', 'none', '-f', 'raw', '-O', 'raw']),
  'cp --sparse=always': async (pairs) => await runAll(pairs, 'cp', ['--sparse=always', '--reflink=auto']),
};

async function runAll(pairs: readonly Pair[], program: string, args: readonly string[]): Promise<void> {
  await Promise.all(
    pairs.map(async ({ source, target }) => {
      const child = spawn(program, [...args, source, target], { stdio: 'inherit' });
      const status = await new Promise((resolve) => void child.once('close', resolve));
      if (status !== 0) throw new Error(`${program} ended with ${String(status)}`);
      await syncFile(target);
    }),
  );
}

/** Data in pieces of `data` bytes, each followed by a hole of `hole` bytes. */
function makeImage(path: string, data: number, hole: number): void {
  const piece = Buffer.alloc(data);
  for (let n = 0; n + 4 <= data; n += 4) piece.writeUInt32LE((n * 2_654_435_761 + 1) % 4_294_967_291, n);
  const file = openSync(path, 'w');
  for (let at = 0; at + data <= size; at += data + hole) {
    piece.writeUInt32LE(at % 2 ** 32, 0);
    writeSync(file, piece, 0, data, at);
  }
  closeSync(file);
  truncateSync(path, size);
}

/** User and system time of the children that have ended, in seconds: fields 16 and 17 of /proc/self/stat. */
function childrenCpu(): number {
  const fields = readFileSync('/proc/self/stat', 'utf8').split(') ')[1]?.split(' ') ?? [];
  const ticks = Number(execFileSync('getconf', ['CLK_TCK']));
  return (Number(fields[13]) + Number(fields[14])) / ticks;
}

function median(values: readonly number[]): number {
  return values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)] ?? Number.NaN;
}

async function measure(kind: string, sources: readonly string[]): Promise<void> {
  const pairs = sources.map((source) => ({ source, target: `${source}.copy` }));
  let ours = Number.NaN;
  for (const [way, copy] of Object.entries(WAYS)) {
    const times: number[] = [];
    const cpus: number[] = [];
    let allocated = 0;
    for (let run = 0; run < RUNS; run += 1) {
      execFileSync('sync');
      const [time, cpu] = [performance.now(), childrenCpu()];
      await copy(pairs);
      times.push((performance.now() - time) / 1000);
      cpus.push(childrenCpu() - cpu);
      for (const { source, target } of pairs) execFileSync('cmp', [source, target]);
      allocated = statSync(pairs[0]?.target ?? '').blocks * 512;
      for (const { target } of pairs) rmSync(target);
    }
    const seconds = median(times);
    if (Number.isNaN(ours)) ours = seconds;
    const occupied = allocated / (statSync(sources[0] ?? '').blocks * 512);
    console.log(
      `${kind.padEnd(10)} x${sources.length}  ${way.padEnd(25)} ${seconds.toFixed(2).padStart(6)} s  ` +
        `${(seconds / ours).toFixed(2)} of ours  cpu ${median(cpus).toFixed(2)} s  target occupies ${occupied.toFixed(2)}`,
    );
  }
}

/** How near the speed comes to what it was set to while the copy runs, and what a pause lets through. */
async function measureControl(source: string): Promise<void> {
  const target = `${source}.copy`;
  const control = new CopyControl({ speed: 20 * MiB });
  let copied = 0;
  let ended = false;
  const onProgress = (progress: { readonly copied: number }): void => {
    copied = progress.copied;
  };
  const work = copyImages([{ source: { path: source }, target, owner }], { control, onProgress }).finally(() => {
    ended = true;
  });
  const during = async (seconds: number): Promise<number> => {
    const before = copied;
    await new Promise((resolve) => setTimeout(resolve, seconds * 1000));
    return (copied - before) / MiB / seconds;
  };
  await during(1);
  console.log(`limit 20 MiB/s: ${(await during(4)).toFixed(1)} MiB/s`);
  control.setSpeed(50 * MiB);
  await during(1);
  console.log(`limit changed to 50 MiB/s: ${(await during(3)).toFixed(1)} MiB/s`);
  control.pause();
  await during(0.5);
  console.log(`paused: ${(await during(2)).toFixed(1)} MiB/s`);
  if (ended) console.log('(the copy ended before: take a larger size)');
  control.setSpeed(0);
  control.resume();
  await work;
  const time = performance.now();
  const { compared, readBack } = await verifyCopy({ source: { path: source, blockDevice: false }, target });
  const rate = compared / MiB / ((performance.now() - time) / 1000);
  console.log(`verifyCopy (${readBack}): ${rate.toFixed(0)} MiB/s`);
}

try {
  for (const [kind, data, hole] of [
    ['full', 8 * MiB, 0],
    ['half empty', 8 * MiB, 8 * MiB],
    ['scattered', 4096, 61_440],
  ] as const) {
    const sources = ['a', 'b'].map((name) => join(folder, `${kind}-${name}`));
    for (const source of sources) makeImage(source, data, hole);
    await measure(kind, sources.slice(0, 1));
    await measure(kind, sources);
    if (kind === 'full') await measureControl(sources[0] ?? '');
    for (const source of sources) rmSync(source);
  }
} finally {
  rmSync(folder, { recursive: true });
}
