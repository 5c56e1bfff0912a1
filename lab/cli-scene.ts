import { readdir, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { Blockferry, type JsonLine } from '../src/cli/testing/blockferry.ts';
import { QmpClient } from '../src/qmp/index.ts';
import type { Lab, LabDisk, LabVm } from './index.ts';

const MiB = 2 ** 20;

/** A VM without a guest, and what is around it. */
export interface Scene {
  readonly vm: LabVm;
  readonly source: string;
  readonly target: string;
  readonly state: string;
  /** Options that every command of the scene takes. */
  readonly common: readonly string[];
  /** Everything that must be as before after a rollback or a dry run: files, nodes, jobs. */
  traces(): Promise<unknown>;
}

/** A VM without a guest: two disks of 64 MiB with 16 MiB in each. The second monitor is for the test. */
export async function scene(
  lab: Lab,
  name = 'vm 1',
  options: { readonly state?: string; readonly monitors?: 1 | 2 } = {},
): Promise<Scene> {
  const source = await lab.storage(`${name} 'fast', 100 %`);
  const target = await lab.storage(`${name} "big" größer`);
  const state = options.state ?? join(lab.folder, `${name} state`);
  const disks: LabDisk[] = [];
  for (const id of ['a', 'b']) {
    const path = join(source, `${id}.qcow2`);
    await lab.image({ path, format: 'qcow2', size: 64 * MiB, fill: { bytes: 16 * MiB, seed: disks.length + 1 } });
    disks.push({ id, path, format: 'qcow2' });
  }
  const { monitors = 1 } = options;
  const vm = await lab.startVm({ name, disks: [...disks, { id: 'cd0', cdrom: true }], boot: false, monitors });
  return {
    vm,
    source,
    target,
    state,
    common: ['--state-dir', state],
    traces: async () => {
      await using qmp = await QmpClient.connect({ path: vm.qmpPath });
      const nodes = await qmp.execute('query-named-block-nodes', { flat: true });
      return {
        source: await listing(source),
        target: await listing(target),
        nodes: nodes
          .flatMap((node) => node['node-name'] ?? [])
          .filter((node) => !node.startsWith('#'))
          .toSorted(),
        jobs: await qmp.execute('query-jobs'),
      };
    },
  };
}

/** Names and inodes. */
export async function listing(folder: string): Promise<string[]> {
  const names = (await readdir(folder)).toSorted();
  return await Promise.all(names.map(async (name) => `${name} ${(await stat(join(folder, name))).ino}`));
}

/** A migration that takes long enough to be reached while it copies. */
export function startSlow({ vm, target, common }: Scene): Blockferry {
  return Blockferry.start('migrate', vm.name, '--to', target, '--bwlimit', '256k', '--yes', '--json', ...common);
}

/** Waits until it copies. @returns the id of the migration */
export async function copying(program: Blockferry): Promise<string> {
  return await program.until(({ lines }) => {
    const begun = lines.some(
      (line) => line.type === 'progress' && line['phase'] === 'copy' && Number(line['done']) > 0,
    );
    return begun && String(find(lines, 'begin')['id']);
  });
}

/** The last line of this type. */
export function find(lines: readonly JsonLine[], type: string): JsonLine {
  const line = lines.findLast((each) => each.type === type);
  if (!line) throw new Error(`no line of type ${type} in ${JSON.stringify(lines)}`);
  return line;
}
