/** Kill trials on VMs of libvirt: that trials and driver are sound. `npm run torture -- --libvirt` runs as many as one has time for. */
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { Lab } from '../index.ts';
import { type Choices, choose } from './choices.ts';
import { ImageStock } from './layout.ts';
import { LibvirtHost } from './libvirt-host.ts';
import { type Bench, runTrial, type TrialResult } from './trial.ts';
import { PLAIN_REQUEST, twoDisks } from './two-disks.ts';

let lab: Lab;
let bench: Bench;

beforeAll(async () => {
  lab = await Lab.open({ name: 'libvirt-trials' });
  const evidence = join(lab.folder, 'evidence');
  bench = { build: lab.build, stock: new ImageStock(lab), hypervisor: await LibvirtHost.open(lab), evidence };
});
afterAll(() => lab[Symbol.asyncDispose]());

async function trial(persistent: boolean, choices: Pick<Choices, 'moment' | 'blow'>): Promise<TrialResult> {
  const layout = twoDisks(['raw', 'qcow2'], persistent);
  const rest = { layout, request: PLAIN_REQUEST, gcBefore: false, attempts: [{ way: 'recover' }] as const };
  return await runTrial(bench, { ...choose(1, { driver: 'libvirt' }), ...rest, ...choices });
}

test('manager and libvirtd die when one of two disks has gone over: nothing is lost, nothing is left', async () => {
  const result = await trial(false, {
    moment: { kind: 'exact', death: { step: 'pivot', when: 'half held' } },
    blow: { dies: 'libvirtd and manager' },
  });
  expect(result).toMatchObject({ outcome: 'rolled-back', lost: 0, litter: [] });
});

test('all die with the commit record just written: the definition names the target, and what is there', async () => {
  const result = await trial(true, {
    moment: { kind: 'exact', death: { step: 'pivot', when: 'recorded' } },
    blow: { dies: 'all' },
  });
  expect(result).toMatchObject({ outcome: 'done', lost: 0, litter: [] });
});
