/** A process that runs one trial after another, as `runTrials` asks: so that trials side by side do not delay each other's kills. */
import { messageOf } from '../../src/base/index.ts';
import { Lab, type QemuBuild } from '../index.ts';
import { choose } from './choices.ts';
import { ImageStock } from './layout.ts';
import { runTrial, type TrialResult } from './trial.ts';

export interface Order {
  readonly build: QemuBuild;
  readonly evidence: string;
  readonly seed: number;
  /** How many disks the VM may have; default: that of `choose`. */
  readonly counts?: readonly [number, ...number[]];
}

/** A trial that did not come to its end has only the reason. */
export type Answer = TrialResult | { readonly seed: number; readonly failure: string };

let stock: Promise<ImageStock> | undefined;

async function makeStock(build: QemuBuild): Promise<ImageStock> {
  return new ImageStock(await Lab.open({ name: 'images', build }));
}

async function answer({ build, evidence, seed, counts }: Order): Promise<Answer> {
  try {
    stock ??= makeStock(build);
    return await runTrial({ build, evidence, stock: await stock }, choose(seed, counts));
  } catch (error) {
    return { seed, failure: messageOf(error) };
  }
}

process.on('message', (order: Order) => void answer(order).then((result) => process.send?.(result)));
process.on('disconnect', () => process.exit());
