/**
 * `npm run torture -- [--trials N] [--seed S] [--jobs N] [--qemu PATH | --build LABEL | --libvirt] [--results FILE]
 * [--evidence DIR]`: migrations of real guests in which the manager, QEMU or both are killed at a random moment; then one
 * command, sometimes killed as well, has to bring the disks to where they were or to where they were going, with every
 * acknowledged write and with nothing left over.
 *
 * With --libvirt the VMs are domains of a libvirtd of the lab, defined or transient, and libvirtd dies as well, alone or with
 * the others; it is started again before anybody recovers. The running domain and its definition must then name the right
 * images, and a defined domain whose QEMU is gone must start from them. As root.
 *
 * Trial S + n has the seed S + n, which repeats all that is chosen. With --results each trial is added to a file, those that
 * are in it for the same QEMU and the same sources are not run again, and the sums are over all of them: a long run can be
 * interrupted and gone on with. What is left of a trial that fails is kept in a folder of --evidence.
 *
 * The last line is `N trials, N lost, N littered`; exit status 1 on any loss, litter or trial that did not end.
 */
import { execFileSync } from 'node:child_process';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { installedQemu, qemuBuilds, type QemuBuild } from '../index.ts';
import { runTrials } from './run-trials.ts';
import { report, Results, summary } from './results.ts';

const { values } = parseArgs({
  options: {
    trials: { type: 'string', default: '20' },
    seed: { type: 'string', default: String(Date.now() % 1_000_000) },
    jobs: { type: 'string', default: '1' },
    qemu: { type: 'string' },
    build: { type: 'string' },
    libvirt: { type: 'boolean', default: false },
    results: { type: 'string' },
    evidence: { type: 'string', default: join(tmpdir(), 'blockferry-torture') },
  },
});

async function chosenBuild(): Promise<QemuBuild> {
  if (values.libvirt && (values.qemu ?? values.build) !== undefined)
    throw new Error('--libvirt: the QEMU of this machine');
  if (values.qemu !== undefined) process.env['QEMU'] = values.qemu;
  if (values.build === undefined) return await installedQemu();
  const { builds, missing } = await qemuBuilds();
  const build = builds.find(({ label }) => label === values.build);
  if (build === undefined) throw new Error(`no build ${values.build}: ${missing.map(({ reason }) => reason).join()}`);
  return build;
}

function git(...args: string[]): string {
  return execFileSync('git', ['-C', import.meta.dirname, ...args], { encoding: 'utf8' }).trim();
}

/** Of the sources, with a mark where they were changed since; for the results. */
function commitOfSources(): string {
  try {
    const changed = git('status', '--porcelain', '--', ':/src', ':/bin') !== '';
    return `${git('log', '-1', '--format=%h', '--', ':/src', ':/bin')}${changed ? ' and changes' : ''}`;
  } catch {
    return 'unknown';
  }
}

const build = await chosenBuild();
const driver = values.libvirt ? 'libvirt' : 'QMP';
const about = { version: `${build.version}${values.libvirt ? ' of libvirt' : ''}`, commit: commitOfSources() };
const results = new Results(values.results);
const first = Number(values.seed);
const seeds = Array.from({ length: Number(values.trials) }, (_, n) => first + n);
const open = seeds.filter((seed) => !results.has(seed, about));
console.log(`QEMU ${about.version}, ${values.trials} trials, seed ${first}, sources ${about.commit}`);

await runTrials(open, {
  build,
  driver,
  evidence: resolve(values.evidence),
  jobs: Number(values.jobs),
  onAnswer: (answer) => {
    results.add({ ...about, ...answer });
    for (const line of report(answer)) console.log(line);
  },
});
const ran = new Set(seeds);
const counted = values.results === undefined ? results.entries.filter(({ seed }) => ran.has(seed)) : results.entries;
const { lines, failed } = summary(counted);
for (const line of lines) console.log(line);
process.exitCode = failed ? 1 : 0;
