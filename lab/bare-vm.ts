import { join } from 'node:path';
import { run } from '../src/base/index.ts';
import { Journal } from '../src/journal/index.ts';
import type { StepName } from '../src/migration/index.ts';
import { QmpClient } from '../src/qmp/index.ts';
import { type EngineOptions, type EngineResult, migrate, type Traces, traces } from './engine.ts';
import type { Lab } from './lab.ts';
import type { LabVm } from './lab-vm.ts';

const MiB = 2 ** 20;

/** Its disks: qcow2, 32 MiB each, with 4 MiB in them. */
export const DISKS = ['a', 'b'] as const;

/**
 * A VM without a guest: what is written to its disks goes through their devices all the same. They are SCSI disks, which can be
 * unplugged at once. Of its monitors one is for the migration, one for the test, and one for whoever else there is.
 */
export class BareVm {
  readonly #lab: Lab;
  readonly vm: LabVm;
  readonly qmp: QmpClient;
  readonly source: string;
  readonly target: string;
  readonly stateDir: string;

  private constructor(lab: Lab, vm: LabVm, qmp: QmpClient, source: string, target: string) {
    this.#lab = lab;
    this.vm = vm;
    this.qmp = qmp;
    this.source = source;
    this.target = target;
    this.stateDir = join(lab.folder, 'state');
  }

  /** Makes its disks in `source`, by default a folder of the lab, and starts it. */
  static async start(lab: Lab, options: { readonly source?: string } = {}): Promise<BareVm> {
    const [source, target] = [options.source ?? (await lab.storage('source')), await lab.storage('target')];
    const args = ['-device', 'virtio-scsi-pci'];
    for (const [n, id] of DISKS.entries()) {
      const path = join(source, `${id}.qcow2`);
      await lab.image({ path, format: 'qcow2', size: 32 * MiB, fill: { bytes: 4 * MiB, seed: n + 1 } });
      const node = { driver: 'qcow2', 'node-name': `n-${id}`, file: { driver: 'file', filename: path } };
      args.push('-blockdev', JSON.stringify(node), '-device', `scsi-hd,id=${id},drive=n-${id}`);
    }
    const vm = await lab.startVm({ name: 'disturbed', boot: false, monitors: 3, disks: [], extraArgs: args });
    const qmp = await QmpClient.connect({ path: vm.qmpPaths[1] ?? '' });
    lab.defer(() => qmp[Symbol.asyncDispose]());
    return new BareVm(lab, vm, qmp, source, target);
  }

  /** A write as the guest does it, through the device. */
  async write(disk: string, pattern: number): Promise<void> {
    const line = `qemu-io -d ${disk} "write -f -q -P ${pattern} ${pattern}M 64k"`;
    const error = await this.qmp.execute('human-monitor-command', { 'command-line': line });
    if (error !== '') throw new Error(error);
  }

  /** Migrates; when a step begins, or is done, something happens, and no further step is begun meanwhile. */
  async migrate(
    at: `${StepName} ${'begun' | 'done'}`,
    happens: (id: string) => Promise<unknown>,
    options: { readonly to?: string } & Pick<EngineOptions, 'steps' | 'clock'> = {},
  ): Promise<EngineResult> {
    const { to = this.target, ...rest } = options;
    let happened: Promise<unknown> | undefined;
    const result = await migrate(this.vm, {
      stateDir: this.stateDir,
      request: { to },
      ...rest,
      watch: ({ control, plan }, event) => {
        if (event?.type !== 'step' || at !== `${event.step} ${event.state}`) return;
        control.pause();
        happened = happens(plan.id).finally(() => control.resume());
      },
    });
    await happened;
    return result;
  }

  async traces(): Promise<Traces> {
    return await traces(this.vm, [this.source, this.target]);
  }

  async status(): Promise<string> {
    return (await this.qmp.execute('query-status')).status;
  }

  /** Files, nodes and jobs that the ledger has left. */
  left(id: string): readonly string[] {
    using journal = Journal.open(this.stateDir, { readOnly: true });
    return journal.ledger(id, { states: ['planned', 'made'] }).map(({ name }) => name);
  }

  /** Ends the VM, and compares what was written with what is in the images of a folder. */
  async holds(folder: string, written: Readonly<Record<string, readonly number[]>>): Promise<void> {
    await this.vm.kill();
    for (const [disk, patterns] of Object.entries(written)) {
      const reads = patterns.flatMap((pattern) => ['-c', `read -P ${pattern} ${pattern}M 64k`]);
      await run(this.#lab.build.io, ['-f', 'qcow2', ...reads, join(folder, `${disk}.qcow2`)], {
        env: { ...process.env, ...this.#lab.build.env },
      });
    }
  }
}
