/**
 * `npm run torture`: kill trials. Trial S + n has the seed S + n, which repeats all that is chosen (`choices.ts`). What is left of a
 * trial that fails is kept.
 *
 * VMs of libvirt are domains of a libvirtd of the lab, defined or transient; a libvirtd that was killed is started again before
 * anybody recovers. The running domain and its definition must then name the right images, and a defined domain whose QEMU is gone
 * must start from them.
 */
import { execFileSync } from 'node:child_process';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { buildOption } from '../build-option.ts';
import { programOptions, refuseOption } from '../program-options.ts';
import { MOST_DISKS } from './layout.ts';
import { runTrials } from './run-trials.ts';
import { report, Results, summary } from './results.ts';

const USAGE = `
usage: npm run torture -- [options]

Migrations of real guests in which the manager, QEMU or both are killed at a random moment. Then one command, sometimes killed
as well, has to bring the disks to where they were or to where they were going, with every acknowledged write and with nothing
left over. The last line is "N trials, N lost, N littered"; exit status 1 on any loss, litter or trial that did not end.

  --trials N        how many (default: 20)
  --seed S          of the first; the others have those after it (default: by the clock)
  --jobs N          how many at once (default: 1)
  --qemu PATH       the QEMU to run (default: the one that is installed)
  --build LABEL     or one that the lab knows: installed, backports
  --libvirt         VMs of libvirt, the one that comes with the build; libvirtd dies as well, alone or with the others. As root
  --disks N[,N...]  how many disks a VM may have, 1 to ${MOST_DISKS} (default: 1 to 4; with --libvirt 1 or 2)
  --snapshots       mirrored snapshots, taken, copied by hand, and ended by --mirror-pivot or --mirror-abort, in place of migrations
  --results FILE    each trial is added to it, those in it of the same QEMU, disks and sources are not run again, and the sums
                    are over all of them: a long run can be interrupted and gone on with
  --evidence DIR    where a folder is left of each trial that fails (default: blockferry-torture in the temporary folder)
`;

const { values, number, numbers } = programOptions(USAGE, {
  trials: { type: 'string', default: '20' },
  seed: { type: 'string', default: String(Date.now() % 1_000_000) },
  jobs: { type: 'string', default: '1' },
  qemu: { type: 'string' },
  build: { type: 'string' },
  libvirt: { type: 'boolean', default: false },
  disks: { type: 'string' },
  snapshots: { type: 'boolean', default: false },
  results: { type: 'string' },
  evidence: { type: 'string', default: join(tmpdir(), 'blockferry-torture') },
});

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

const [trials, first, jobs] = [number('trials'), number('seed', 0), number('jobs')];
const counts = numbers('disks', 1, MOST_DISKS);
if (values.libvirt && values.qemu !== undefined)
  refuseOption('--libvirt runs the QEMU of a --build: --qemu does not go with it');
if (values.qemu !== undefined) process.env['QEMU'] = values.qemu;
const build = await buildOption(values.build);
const driver = values.libvirt ? 'libvirt' : 'QMP';
const variant = [
  ...(values.libvirt ? [' of libvirt'] : []),
  ...(counts ? [` with ${counts.join(' or ')} disks`] : []),
  ...(values.snapshots ? [', snapshots'] : []),
];
const about = { version: `${build.version}${variant.join('')}`, commit: commitOfSources() };
const results = new Results(values.results);
const seeds = Array.from({ length: trials }, (_, n) => first + n);
const open = seeds.filter((seed) => !results.has(seed, about));
console.log(`QEMU ${about.version}, ${trials} trials, seed ${first}, sources ${about.commit}`);

await runTrials(open, {
  build,
  driver,
  ...(counts && { counts }),
  snapshots: values.snapshots,
  evidence: resolve(values.evidence),
  jobs,
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
