// npm run conformance -- [FOLDER] [--schema-dir DIR] [--only TEXT] [--no-libvirt]: runs a folder in the corpus format (its
// README describes it). The cases of the kind `virsh` need root, and the package libvirt-daemon.
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { messageOf } from '../../src/base/index.ts';
import { Lab, LabLibvirtd } from '../index.ts';
import { DEFAULT_CORPUS } from './default-corpus.ts';
import { runConformance } from './report.ts';
import { VirshRunner } from './virsh-runner.ts';

const { values, positionals } = parseArgs({
  options: { 'schema-dir': { type: 'string' }, only: { type: 'string' }, 'no-libvirt': { type: 'boolean' } },
  allowPositionals: true,
});
const folder = positionals[0] ?? DEFAULT_CORPUS;
if (!existsSync(join(folder, 'cases.json'))) {
  process.stderr.write(`no cases.json in ${folder}; give the folder of a corpus\n`);
  process.exitCode = 2;
} else {
  await using lab = await Lab.open({ name: 'conformance' });
  const virsh = values['no-libvirt'] ? 'needs a hypervisor driver' : await openVirsh(lab);
  const report = await runConformance(folder, { schemaFolder: values['schema-dir'], virsh, only: values.only });
  process.stdout.write(`${report.lines.join('\n')}\n`);
  process.exitCode = report.failed === 0 ? 0 : 1;
}

async function openVirsh(lab: Lab): Promise<VirshRunner | string> {
  try {
    return await VirshRunner.open(folder, lab, await LabLibvirtd.start(lab));
  } catch (error) {
    return `no libvirtd can be started here: ${messageOf(error)}`;
  }
}
