// `npm run conformance`: cases in the corpus format (its README describes it), by blockferry and by libvirt's own answers.
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { messageOf } from '../../src/base/index.ts';
import { buildOption } from '../build-option.ts';
import { Lab, LabLibvirtd } from '../index.ts';
import { programOptions, refuseOption } from '../program-options.ts';
import { DEFAULT_CORPUS } from './default-corpus.ts';
import { runConformance } from './report.ts';
import { VirshRunner } from './virsh-runner.ts';

const USAGE = `
usage: npm run conformance -- [options] [FOLDER]

Runs a folder in the corpus format, and prints what failed, with the difference to libvirt's answer, and sums by kind. The cases of
the kind "virsh" need root and the package libvirt-daemon. Exit status 1 when one failed.

  --schema-dir DIR   libvirt's schemas (default: those that are installed)
  --only TEXT        only cases whose id has it
  --build LABEL      the libvirt of a build that the lab knows: installed (default), backports
  --no-libvirt       leaves the cases of the kind "virsh" out
`;

const { values, positionals } = programOptions(
  USAGE,
  {
    'schema-dir': { type: 'string' },
    only: { type: 'string' },
    build: { type: 'string' },
    'no-libvirt': { type: 'boolean' },
  },
  { allowPositionals: true },
);
const folder = positionals[0] ?? DEFAULT_CORPUS;
if (!existsSync(join(folder, 'cases.json'))) refuseOption(`no cases.json in ${folder}: give the folder of a corpus`);
await using lab = await Lab.open({ name: 'conformance', build: await buildOption(values.build) });
const virsh = values['no-libvirt'] ? 'needs a hypervisor driver' : await openVirsh(lab);
const report = await runConformance(folder, { schemaFolder: values['schema-dir'], virsh, only: values.only });
process.stdout.write(`${report.lines.join('\n')}\n`);
process.exitCode = report.failed === 0 ? 0 : 1;

async function openVirsh(lab: Lab): Promise<VirshRunner | string> {
  try {
    return await VirshRunner.open(folder, lab, await LabLibvirtd.start(lab));
  } catch (error) {
    return `no libvirtd can be started here: ${messageOf(error)}`;
  }
}
