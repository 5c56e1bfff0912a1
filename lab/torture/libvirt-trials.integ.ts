/** Kill trials on VMs of libvirt: that trials and driver are sound. `npm run torture -- --libvirt` runs as many as one has time for. */
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { Lab } from '../index.ts';
import { type Choices, choose } from './choices.ts';
import { ImageStock, type Layout } from './layout.ts';
import { LibvirtHost } from './libvirt-host.ts';
import { type Bench, runTrial, type TrialResult } from './trial.ts';

const MiB = 2 ** 20;
let lab: Lab;
let bench: Bench;

beforeAll(async () => {
  lab = await Lab.open({ name: 'libvirt-trials' });
  const evidence = join(lab.folder, 'evidence');
  bench = { build: lab.build, stock: new ImageStock(lab), hypervisor: await LibvirtHost.open(lab), evidence };
});
afterAll(() => lab[Symbol.asyncDispose]());

/** Two disks that are written to all the time: a raw image, and a qcow2 one. */
const layout: Omit<Layout, 'persistent'> = {
  style: 'blockdev',
  disks: (['raw', 'qcow2'] as const).map((format, n) => ({
    images: [{ name: `disk${n}.${format}`, format, clusters: {}, fill: 20, seed: 1 }],
    options: {},
  })),
  writers: [0, 1].map((disk) => ({ disk, seed: disk + 1, rate: 100, region: { offset: 0, length: 8 * MiB } })),
};

async function trial(persistent: boolean, choices: Pick<Choices, 'moment' | 'blow'>): Promise<TrialResult> {
  const request = { verify: true, fold: true, keepSource: false, leaveLink: false, bandwidth: 0, mirrorServer: true };
  const rest = { layout: { ...layout, persistent }, request, gcBefore: false, attempts: [{ way: 'recover' }] as const };
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
