/**
 * `npm run torture -- [--trials N] [--seed S] [--qemu PATH | --build LABEL]`: migrations of real guests in which the
 * manager, QEMU or both are killed at a random moment; then one command, sometimes killed as well, has to bring the disks
 * to where they were or to where they were going, with every acknowledged write and with nothing left over.
 *
 * The last line is `N trials, N lost, N littered`; exit status 1 on any loss, litter or trial that did not end.
 */
import { parseArgs } from 'node:util';
import { messageOf } from '../../src/base/index.ts';
import { installedQemu, qemuBuilds, type QemuBuild } from '../index.ts';
import { random } from './random.ts';
import { runTrial, type TrialResult } from './trial.ts';

const { values } = parseArgs({
  options: {
    trials: { type: 'string', default: '20' },
    seed: { type: 'string', default: String(Date.now() % 1_000_000) },
    qemu: { type: 'string' },
    build: { type: 'string' },
  },
});

async function chosenBuild(): Promise<QemuBuild> {
  if (values.qemu !== undefined) process.env['QEMU'] = values.qemu;
  if (values.build === undefined) return await installedQemu();
  const { builds, missing } = await qemuBuilds();
  const build = builds.find(({ label }) => label === values.build);
  if (build === undefined) throw new Error(`no build ${values.build}: ${missing.map(({ reason }) => reason).join()}`);
  return build;
}

const build = await chosenBuild();
const trials = Number(values.trials);
console.log(`QEMU ${build.version}, ${trials} trials, seed ${values.seed}`);
const results: TrialResult[] = [];
let broken = 0;
for (let n = 0; n < trials; n++) {
  const seed = Number(values.seed) + n;
  try {
    const result = await runTrial(build, random(seed));
    results.push(result);
    const { killed, phase, recovery, outcome, acknowledged, lost, litter } = result;
    const verdict = lost === 0 && litter.length === 0 ? 'ok  ' : 'FAIL';
    console.log(
      `${verdict} ${seed} killed ${killed} at ${phase}, ${recovery}: ${outcome}, ${acknowledged} acknowledged, ${lost} lost`,
    );
    for (const line of litter) console.log(`     litter: ${line}`);
  } catch (error) {
    broken += 1;
    console.log(`FAIL ${seed} did not end: ${messageOf(error)}`);
  }
}
const phases = Map.groupBy(results, ({ phase }) => phase);
for (const [phase, of] of phases) console.log(`${phase}: ${of.length} trials`);
const lost = results.filter((result) => result.lost > 0).length;
const littered = results.filter((result) => result.litter.length > 0).length;
console.log(`${trials} trials, ${lost} lost, ${littered} littered`);
process.exitCode = lost + littered + broken > 0 ? 1 : 0;
