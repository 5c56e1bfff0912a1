import { QmpClient } from '../../src/qmp/index.ts';
import { traces } from '../engine.ts';
import type { LabVm } from '../index.ts';
import { DISK_SIZE } from './layout.ts';
import { litterInQemu } from './litter-in-qemu.ts';
import type { Hypervisor, TrialVm } from './trial-vm.ts';

const NAME = 'torture';

/** VMs that nobody manages, driven over QMP. They go on from a saved guest. */
export const PLAIN_QEMU: Hypervisor = {
  async start(lab, disks, { style }) {
    const warm = disks.map(() => DISK_SIZE);
    const vm = await lab.startVm({ name: NAME, disks, style, warm });
    await vm.booted();
    return new PlainVm(vm, (await traces(vm, [])).nodes);
  },
};

class PlainVm implements TrialVm {
  readonly vm: LabVm;
  readonly name = NAME;
  readonly named: TrialVm['named'];
  readonly address: TrialVm['address'];
  readonly #nodes: string;

  /** @param nodes the named ones that it was started with */
  constructor(vm: LabVm, nodes: readonly string[]) {
    this.vm = vm;
    this.named = ['--qmp', vm.qmpPath];
    this.address = { qmpPath: vm.qmpPath };
    this.#nodes = nodes.join(', ');
  }

  killDaemon(): Promise<void> {
    return Promise.reject(new Error('there is no daemon'));
  }

  isForgotten(): Promise<boolean> {
    return Promise.resolve(false);
  }

  async litter({ alive, back }: Parameters<TrialVm['litter']>[0]): Promise<string[]> {
    if (!alive) return [];
    const nodes = (await traces(this.vm, [])).nodes.join(', ');
    const changed = back && nodes !== this.#nodes ? [`nodes ${nodes} instead of ${this.#nodes}`] : [];
    await using qmp = await QmpClient.connect({ path: this.vm.qmpPath });
    return [...changed, ...(await litterInQemu((command) => qmp.executeRaw(command)))];
  }

  evidence(): Promise<string> {
    return Promise.resolve('');
  }
}
