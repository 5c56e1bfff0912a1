import type { ChildOrder } from '../migration-process.ts';
import type { Lab, LabDisk, LabVm } from '../index.ts';
import type { ImageToRead } from '../chain-reader.ts';
import type { Layout } from './layout.ts';

/** What runs the VMs of trials: QEMU by itself, or a libvirtd. */
export interface Hypervisor {
  /** Starts a VM with these disks; resolves when its guest answers. It ends with the lab. */
  start(lab: Lab, disks: readonly LabDisk[], layout: Layout): Promise<TrialVm>;
}

/** The VM of a trial, and what differs with what runs it. */
export interface TrialVm {
  readonly vm: LabVm;
  readonly name: string;
  /** How the command line names it. */
  readonly named: readonly string[];
  /** How a process of the lab that drives a migration does. */
  readonly address: Pick<ChildOrder, 'qmpPath' | 'domain'>;
  /** kill -9 of the daemon that runs it. It is started again at once; resolves when it answers. */
  killDaemon(): Promise<void>;
  /** Whether the daemon knows nothing of it any more, although its QEMU runs: a matter for a person. */
  isForgotten(): Promise<boolean>;
  /**
   * What is wrong with it after a migration, in words: jobs, nodes that nothing stands on, a definition that names other images.
   * @param images the images that hold its disks now
   * @param back whether it must be as it was before
   */
  litter(state: {
    readonly alive: boolean;
    readonly images: readonly ImageToRead[];
    readonly back: boolean;
  }): Promise<string[]>;
  /** What can be told of it, where a trial has failed. */
  evidence(): Promise<string>;
}
