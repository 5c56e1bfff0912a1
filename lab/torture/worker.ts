/** A process that runs one trial after another, as `runTrials` asks: so that trials side by side do not delay each other's kills. */
import { messageOf } from '../../src/base/index.ts';
import { Lab, type QemuBuild } from '../index.ts';
import { choose, type Driver } from './choices.ts';
import { ImageStock } from './layout.ts';
import { LibvirtHost } from './libvirt-host.ts';
import { PLAIN_QEMU } from './plain-qemu.ts';
import { type Bench, runTrial, type TrialResult } from './trial.ts';

export interface Order {
  readonly build: QemuBuild;
  /** Default QMP. */
  readonly driver?: Driver;
  readonly evidence: string;
  readonly seed: number;
  /** How many disks the VM may have; default: that of `choose`. */
  readonly counts?: readonly [number, ...number[]];
  /** Mirrored snapshots in place of migrations. Default: false. */
  readonly snapshots?: boolean;
}

/** A trial that did not come to its end has only the reason. */
export type Answer = TrialResult | { readonly seed: number; readonly failure: string };

let bench: Promise<Bench> | undefined;

/** What all trials of this process use. */
async function makeBench({ build, evidence, driver }: Order): Promise<Bench> {
  const lab = await Lab.open({ name: 'bench', build });
  const hypervisor = driver === 'libvirt' ? await LibvirtHost.open(lab) : PLAIN_QEMU;
  return { build, evidence, hypervisor, stock: new ImageStock(lab) };
}

async function answer(order: Order): Promise<Answer> {
  const { seed, driver, counts, snapshots = false } = order;
  try {
    bench ??= makeBench(order);
    return await runTrial(
      await bench,
      choose(seed, { ...(driver && { driver }), ...(counts && { counts }), snapshots }),
    );
  } catch (error) {
    return { seed, failure: messageOf(error) };
  }
}

process.on('message', (order: Order) => void answer(order).then((result) => process.send?.(result)));
process.on('disconnect', () => process.exit());
