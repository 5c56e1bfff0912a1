import type { RequestChoice } from './choices.ts';
import type { Layout } from './layout.ts';

const MiB = 2 ** 20;

/** The layout of trials that tests choose themselves: two disks, each of a single image, that are written to all the time. */
export function twoDisks(formats: readonly ['qcow2' | 'raw', 'qcow2' | 'raw'], persistent = false): Layout {
  return {
    style: 'blockdev',
    persistent,
    disks: formats.map((format, n) => ({
      images: [{ name: `disk${n}.${format}`, format, clusters: {}, fill: 20, seed: 1 }],
      options: {},
    })),
    writers: [0, 1].map((disk) => ({ disk, seed: disk + 1, rate: 100, region: { offset: 0, length: 8 * MiB } })),
  };
}

/** A migration as the command line makes it where nothing is asked for. */
export const PLAIN_REQUEST: RequestChoice = {
  verify: true,
  fold: true,
  keepSource: false,
  leaveLink: false,
  bandwidth: 0,
  mirrorServer: true,
};
