import { isFerryError } from '../../src/base/index.ts';
import type { Host } from '../../src/migration/index.ts';
import type {
  FoldJob,
  MirrorNode,
  NodeSettings,
  OverlayNode,
  TargetChain,
  VirtualMachine,
} from '../../src/vm/index.ts';

/** A VM that nobody migrates, real or simulated, and what the script does to it. */
export interface Stage {
  readonly vm: VirtualMachine;
  readonly host: Host;
  readonly source: string;
  readonly target: string;
  readonly disks: readonly { readonly id: string; readonly name: string; readonly format: 'raw' | 'qcow2' }[];
  readonly size: number;
  /** A command, straight to the monitor. */
  qmp(command: string, args: object): Promise<unknown>;
  /** The guest writes a value to a block. Not while its I/O is held. */
  write(disk: string, block: number, value: number): Promise<void>;
}

const HOLD_MS = 10_000;
const SETTINGS: NodeSettings = { direct: false, detectZeroes: 'off', discard: 'unmap' };

/**
 * One VM through everything that a migration does, and much that it must not: the same lines of what happened come from a
 * simulated QEMU and from real ones.
 */
export async function conformityScript(stage: Stage): Promise<readonly string[]> {
  const { vm, host, source, target, disks, size } = stage;
  const lines: string[] = [];
  const each = <T>(make: (disk: Stage['disks'][number]) => T): T[] => disks.map(make);
  const ids = (role: string): string[] => each(({ id }) => `${role}-${id}`);
  const overlays = each(({ id }): OverlayNode => {
    return { disk: id, node: `src-${id}`, path: `${source}/${id}.overlay`, base: `node-${id}`, settings: SETTINGS };
  });
  const mirrors = each(
    ({ id }): MirrorNode => ({
      disk: id,
      job: `mirror-${id}`,
      source: `src-${id}`,
      node: `dst-${id}`,
      fileNode: `dstfile-${id}`,
      path: `${target}/${id}.overlay`,
      base: `node-${id}`,
      settings: SETTINGS,
    }),
  );
  const chains = disks.map(({ id, name, format }, n): TargetChain => {
    return { mirror: mirrors[n] as MirrorNode, openFile: false, node: `base-${id}`, path: `${target}/${name}`, format };
  });
  const folds = each(({ id }): FoldJob => ({ disk: id, job: `fold-${id}`, overlay: `dst-${id}`, base: `base-${id}` }));
  const known = ['node', 'src', 'dst', 'dstfile', 'base'].flatMap(ids);
  const jobs = ['mirror', 'fold'].flatMap(ids);

  /** Does one thing, and writes down what came of it and how everything stands then. */
  const does = async (what: string, act: () => Promise<unknown>): Promise<void> => {
    let outcome = 'done';
    try {
      await act();
    } catch (error) {
      if (!isFerryError(error)) throw error;
      outcome = `${error.code} ${String(error.fields['class'] ?? '')}`.trim();
    }
    const states = (await vm.jobs(jobs)).map(({ id, status, error }) => `${id} ${status}${error ? ` (${error})` : ''}`);
    const active = await Promise.all(each(({ id }) => vm.activeNode(id)));
    const above = await Promise.all(known.map((name) => vm.hasBacking(name)));
    const nodes = (await vm.existingNodes(known)).map((name) => (above[known.indexOf(name)] ? `${name}^` : name));
    lines.push(`${what}: ${outcome}; on ${active.join()}; nodes ${nodes.join()}; jobs ${states.toSorted().join()}`);
  };
  const raw = (command: string, args: object): Promise<void> =>
    does(`${command} ${JSON.stringify(args)}`, () => stage.qmp(command, args));
  const ready = async (of: readonly string[]): Promise<void> => {
    for (;;) {
      const states = await vm.jobs(of);
      if (states.every(({ status }) => status !== 'created' && status !== 'running')) return;
      await vm.jobChange(of, 50);
    }
  };
  const cancel = async (of: readonly string[]): Promise<void> => {
    await vm.cancel(of);
    for (let left = await vm.dismiss(of); left.length > 0; left = await vm.dismiss(of)) await vm.jobChange(left, 50);
  };
  const startMirrors = (): Promise<void> =>
    does('the mirrors start', async () => {
      await vm.startMirrors(mirrors, noStop);
      await vm.wake();
      await ready(ids('mirror'));
    });

  const [disk] = disks;
  if (!disk) throw new Error('a stage without disks');
  const { id } = disk;

  // The snapshot.
  await does('a snapshot onto files that are not there', () => vm.snapshot(overlays));
  for (const [n, { name, format }] of disks.entries()) {
    for (const path of [overlays[n]?.path ?? '', mirrors[n]?.path ?? '']) {
      const owner = { uid: 0, gid: 0, mode: 0o600 };
      await host.createOverlay({ path, virtualSize: size, backing: { name, format }, owner });
    }
  }
  await stage.write(id, 0, 1);
  await does('the snapshot', () => vm.snapshot(overlays));
  await does('the snapshot once more', () => vm.snapshot(overlays));
  const again = { type: 'blockdev-snapshot', data: { node: `node-${id}`, overlay: `src-${id}` } };
  await raw('transaction', { actions: [again] });
  await raw('blockdev-del', { 'node-name': `node-${id}` });
  await raw('blockdev-del', { 'node-name': `src-${id}` });
  await raw('blockdev-del', { 'node-name': 'nobody' });
  await stage.write(id, 1, 2);

  // The mirrors, and a swap that is given up at its last moment.
  await startMirrors();
  await does('the mirrors start once more', () => vm.startMirrors(mirrors, noStop));
  await raw('blockdev-mirror', { 'job-id': `mirror-${id}`, device: `src-${id}`, target: `dst-${id}`, sync: 'top' });
  await raw('blockdev-del', { 'node-name': `dst-${id}` });
  await raw('job-finalize', { id: `mirror-${id}` });
  await raw('job-dismiss', { id: `mirror-${id}` });
  await raw('job-complete', { id: 'nobody' });
  await stage.write(id, 2, 3);
  await does('chains that are not there', () => vm.openChains(chains));
  for (const [n, { name }] of disks.entries()) {
    const request = { source: { path: `${source}/${name}` }, target: chains[n]?.path ?? '', owner: OWNER };
    await host.copyImage({ ...request, frozenBy: [vm.identity.pid] }, {});
  }
  await does('the chains are opened', () => vm.openChains(chains));
  await does('the chains are opened once more', () => vm.openChains(chains));
  await does('the guest is held', () => vm.hold(ids('mirror'), HOLD_MS, noStop));
  await raw('job-complete', { id: `mirror-${id}` });
  await raw('job-dismiss', { id: `mirror-${id}` });
  await does('the mirrors are put on the chains', () => vm.attach(chains));
  await does('the swap is given up', () => cancel(ids('mirror')));
  await does('it is given up once more', () => cancel(ids('mirror')));
  await raw('job-cancel', { id: `mirror-${id}` });
  await raw('blockdev-del', { 'node-name': `base-${id}` });
  await does('the mirrors are closed', () => vm.closeNodes(ids('dst')));
  await does('they are closed once more', () => vm.closeNodes(ids('dst')));
  await does('the chains are closed', () => vm.closeNodes(ids('base')));

  // The swap.
  await stage.write(id, 3, 4);
  await startMirrors();
  await does('the chains are opened', () => vm.openChains(chains));
  await does('the guest is held', () => vm.hold(ids('mirror'), HOLD_MS, noStop));
  await does('the mirrors are put on the chains', () => vm.attach(chains));
  await does('the swap', () => vm.release(ids('mirror')));
  await does('the swap once more', () => vm.release(ids('mirror')));
  await does('its jobs are settled', () => vm.settle(ids('mirror')));
  await stage.write(id, 0, 5);
  await raw('block-commit', { 'job-id': 'wrong', device: `dst-${id}`, 'base-node': `node-${id}` });
  await does('the old overlays are closed', () => vm.closeNodes(ids('src')));
  await does('the old images are closed', () => vm.closeUnusedNodes(ids('node')));

  // The fold: given up once, then done.
  for (const end of ['given up', 'done']) {
    await does(`a fold that is ${end}`, async () => {
      await vm.startFolds(folds, noStop);
      await vm.wake();
      await ready(ids('fold'));
    });
    await stage.write(id, 1, end === 'done' ? 7 : 6);
    await does('the guest is held', () => vm.hold(ids('fold'), HOLD_MS, noStop));
    if (end === 'given up') await does('the fold is given up', () => cancel(ids('fold')));
  }
  await does('the fold', () => vm.release(ids('fold')));
  await does('its jobs are settled', () => vm.settle(ids('fold')));
  await does('the overlays are closed', () => vm.closeNodes(ids('dst')));
  await stage.write(id, 2, 8);
  await raw('blockdev-del', { 'node-name': `base-${id}` });
  await does('processors that run are woken', () => vm.wake());
  return lines;
}

const noStop = (): Promise<void> => Promise.resolve();

const OWNER = { uid: 0, gid: 0, mode: 0o600 };
