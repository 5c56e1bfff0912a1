import { lstat, readdir, readFile, readlink } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { messageOf } from '../../src/base/index.ts';
import { Journal } from '../../src/journal/index.ts';
import type { MigrationPlan } from '../../src/migration/index.ts';
import type { LabVm } from '../index.ts';
import type { Scene } from './scene.ts';

/** How a trial's migration ended, by the journal. */
export interface End {
  readonly outcome: 'done' | 'rolled-back';
  /** Of the last migration; none where the manager died before it had begun one. */
  readonly plan?: MigrationPlan;
}

/** The files of the two storages, and links with what they lead to. */
export async function filesOf({ source, target }: Pick<Scene, 'source' | 'target'>): Promise<string[]> {
  return [...(await list(source)), ...(await list(target))];
}

/**
 * The files that must be on the two storages; no others may be.
 * @param before those that were before anybody did anything
 */
function filesAfter(before: readonly string[], { outcome, plan }: End): string[] {
  if (outcome === 'rolled-back' || plan === undefined) return [...before];
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

/**
 * Everything that should not be there, and everything that should and is not, in words.
 * @param others what may be there besides
 */
export async function findLitter(
  scene: Scene,
  before: readonly string[],
  end: End,
  others: readonly string[],
): Promise<string[]> {
  const wanted = filesAfter(before, end);
  const found = await filesOf(scene);
  return [
    ...found.filter((path) => !wanted.includes(path) && !others.includes(path)).map((path) => `${path} is there`),
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

/** What is wrong with a guest that goes on: errors, or no answer. */
export async function litterInGuest(vm: LabVm): Promise<string[]> {
  try {
    return (await vm.ioErrors()).map((error) => `guest error: ${error}`);
  } catch (error) {
    return [`the guest does not answer: ${messageOf(error)}`];
  }
}
