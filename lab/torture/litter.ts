import { lstat, readdir, readFile, readlink } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { messageOf } from '../../src/base/index.ts';
import { Journal } from '../../src/journal/index.ts';
import type { MigrationPlan } from '../../src/migration/index.ts';
import { QmpClient } from '../../src/qmp/index.ts';
import { traces } from '../engine.ts';
import type { LabVm } from '../index.ts';
import type { Scene } from './scene.ts';

/** How a trial's migration ended, by the journal. */
export interface End {
  readonly outcome: 'done' | 'rolled-back';
  /** Of the last migration; none where the manager died before it had begun one. */
  readonly plan?: MigrationPlan;
}

/** What the storages and the VM looked like before anybody did anything. */
export interface Before {
  readonly files: readonly string[];
  readonly nodes: readonly string[];
}

export async function lookBefore({ vm, source, target }: Scene): Promise<Before> {
  const { files, nodes } = await traces(vm, [source, target]);
  return { files, nodes };
}

/** The files that must be on the two storages, and the links with what they lead to; no others may be. */
function filesAfter(before: Before, { outcome, plan }: End): string[] {
  if (outcome === 'rolled-back' || plan === undefined) return [...before.files];
  const { sourceFiles, copies, disks, request } = plan;
  const kept = sourceFiles.flatMap(({ action, path, renameTo }) => {
    if (action === 'remove') return [];
    return action === 'rename' && renameTo !== undefined ? [renameTo] : [path];
  });
  const links = sourceFiles.flatMap(({ path, link }) => (link === undefined ? [] : [`${path} -> ${link}`]));
  const overlays = request.fold ? [] : disks.map(({ targetOverlay }) => targetOverlay);
  return [...kept, ...links, ...copies.map((copy) => copy.target), ...overlays];
}

async function list(folder: string): Promise<string[]> {
  const paths = (await readdir(folder)).map((name) => join(folder, name));
  return await Promise.all(
    paths.map(async (path) => ((await lstat(path)).isSymbolicLink() ? `${path} -> ${await readlink(path)}` : path)),
  );
}

/** Everything that should not be there, and everything that should and is not, in words. */
export async function findLitter(scene: Scene, before: Before, end: End): Promise<string[]> {
  const wanted = filesAfter(before, end);
  const found = [...(await list(scene.source)), ...(await list(scene.target))];
  return [
    ...found.filter((path) => !wanted.includes(path)).map((path) => `${path} is there`),
    ...wanted.filter((path) => !found.includes(path)).map((path) => `${path} is not there`),
    ...litterOfJournal(scene.stateDir),
    ...(await list(join(scene.stateDir, 'control')).catch(() => [] as string[]))
      .filter((path) => !path.endsWith('/lock'))
      .map((path) => `${path} is there`),
  ];
}

function litterOfJournal(stateDir: string): string[] {
  using journal = Journal.open(stateDir, { readOnly: true });
  return journal
    .migrations()
    .flatMap(({ id }) => journal.ledger(id, { states: ['planned', 'made'] }))
    .map(({ kind, name }) => `in the ledger: ${kind} ${name}`);
}

/** Processes that have to do with this folder, but for these; those that are about to end are waited for. */
export async function findProcesses(folder: string, except: readonly number[]): Promise<string[]> {
  for (let look = 0; ; look++) {
    const found: string[] = [];
    for (const pid of (await readdir('/proc')).map(Number).filter((n) => n > 0 && !except.includes(n))) {
      const line = await readFile(`/proc/${pid}/cmdline`, 'utf8').catch(() => '');
      if (line.includes(folder)) found.push(`process ${pid}: ${line.replaceAll('\0', ' ').slice(0, 300)}`);
    }
    if (found.length === 0 || look === 50) return found;
    await sleep(100);
  }
}

interface Graph {
  readonly nodes: readonly { readonly id: number; readonly type: string; readonly name: string }[];
  readonly edges: readonly { readonly parent: number; readonly child: number }[];
}

/** What is wrong with a VM that lives on: jobs, nodes that no device stands on, a guest that is stopped or had errors. */
export async function findInVm(vm: LabVm, before: Before, { outcome }: End): Promise<string[]> {
  const litter: string[] = [];
  const now = await traces(vm, []);
  litter.push(...now.jobs.map((job) => `job ${job}`));
  if (outcome === 'rolled-back' && now.nodes.join() !== before.nodes.join())
    litter.push(`nodes ${now.nodes.join(', ')} instead of ${before.nodes.join(', ')}`);
  {
    await using qmp = await QmpClient.connect({ path: vm.qmpPath });
    const { status } = await qmp.execute('query-status');
    if (status !== 'running') litter.push(`the VM is ${status}`);
    const graph = (await qmp.executeRaw('x-debug-query-block-graph')) as Graph;
    litter.push(...unused(graph).map((name) => `node ${name}, which nothing stands on`));
  }
  try {
    litter.push(...(await vm.ioErrors()).map((error) => `guest error: ${error}`));
  } catch (error) {
    litter.push(`the guest does not answer: ${messageOf(error)}`);
  }
  return litter;
}

/** The nodes that no device reaches. */
function unused({ nodes, edges }: Graph): string[] {
  const reached = new Set(nodes.filter(({ type }) => type === 'block-backend').map(({ id }) => id));
  for (let size = -1; size !== reached.size; ) {
    size = reached.size;
    for (const { parent, child } of edges) if (reached.has(parent)) reached.add(child);
  }
  return nodes.filter(({ id, type }) => type === 'block-driver' && !reached.has(id)).map(({ name }) => name);
}
