// npm run conformance -- [FOLDER] [--schema-dir DIR]: runs a folder in the corpus format (its README describes it).
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { DEFAULT_CORPUS } from './default-corpus.ts';
import { runConformance } from './report.ts';

const { values, positionals } = parseArgs({ options: { 'schema-dir': { type: 'string' } }, allowPositionals: true });
const folder = positionals[0] ?? DEFAULT_CORPUS;
if (!existsSync(join(folder, 'cases.json'))) {
  process.stderr.write(`no cases.json in ${folder}; give the folder of a corpus\n`);
  process.exitCode = 2;
} else {
  const report = runConformance(folder, values['schema-dir']);
  process.stdout.write(`${report.lines.join('\n')}\n`);
  process.exitCode = report.failed === 0 ? 0 : 1;
}
