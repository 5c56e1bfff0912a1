import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { Lab, LabLibvirtd } from '../index.ts';
import { DEFAULT_CORPUS } from './default-corpus.ts';
import { runConformance } from './report.ts';
import { VirshRunner } from './virsh-runner.ts';

const present = existsSync(join(DEFAULT_CORPUS, 'cases.json'));

test.skipIf(!present)(
  `virsh's commands of the corpus (${present ? 'found' : 'not there: nothing was run'})`,
  async () => {
    await using lab = await Lab.open({ name: 'conformance' });
    const virsh = await VirshRunner.open(DEFAULT_CORPUS, lab, await LabLibvirtd.start(lab));
    // Their ids begin with the driver's letter.
    const { lines, passed } = await runConformance(DEFAULT_CORPUS, { virsh, only: 'v' });
    expect(lines.filter((line) => line.startsWith('FAILED'))).toEqual([]);
    expect(passed).toBeGreaterThan(0);
  },
);
