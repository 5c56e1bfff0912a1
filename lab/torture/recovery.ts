import { Journal } from '../../src/journal/index.ts';
import type { Choices, Way } from './choices.ts';
import type { End } from './litter.ts';
import { Manager } from './manager.ts';
import type { Scene } from './scene.ts';
import { type Life, strike } from './strike.ts';

/** What came of a trial's commands. */
export interface Flow {
  /** Where the one was that was killed. */
  readonly phase: string;
  /** Those after it, in words. */
  readonly commands: readonly string[];
  /** Files that a person made on the target, and who may have to do without where all is as it was. */
  readonly copied: readonly string[];
}

/**
 * Runs the commands that were chosen until the journal says that nothing is unfinished: the first that is not killed must do.
 * @param migrate the arguments of the command that began it
 * @param managers takes each process that is started
 * @returns the commands, in words
 * @throws Error when the migration does not come to an end
 */
export async function recover(
  scene: Scene,
  { attempts, gcBefore }: Choices,
  migrate: readonly string[],
  life: Life,
  managers: Manager[],
): Promise<string[]> {
  const state = ['--state-dir', scene.stateDir];
  const commands: string[] = [];
  if (gcBefore && unfinished(scene.stateDir) !== undefined) {
    const gc = Manager.blockferry('gc', '--yes', ...state);
    managers.push(gc);
    await gc.ended;
    commands.push('gc');
  }
  for (const { way: chosen, killed } of attempts) {
    await endForgotten(life, commands);
    const way = possible(chosen, scene.stateDir, life.alive());
    const manager = Manager.blockferry(
      ...(way === 'migrate' ? migrate : [...argumentsOf(way, scene.stateDir), ...state]),
    );
    managers.push(manager);
    if (killed) await manager.until(killed.moment);
    const dies = killed && manager.running;
    commands.push(dies ? `${way} (killed at ${manager.step})` : way);
    if (dies) await strike(killed, manager, life);
    await manager.ended;
    if (!dies && unfinished(scene.stateDir) === undefined) return commands;
    if (await endAsTold(scene, life, commands)) return [...commands, ...(await recoverEnded(scene, managers))];
  }
  throw new Error(`still unfinished after ${commands.join(', ')}`);
}

/** Whether the disks of the one that is unfinished have been swapped. */
export function isCommitted(stateDir: string): boolean {
  using journal = Journal.open(stateDir, { readOnly: true });
  const id = journal.migrations({ unfinished: true })[0]?.id;
  return id !== undefined && journal.commitRecord(id, 'pivot') !== undefined;
}

/** What libvirtd does not know to run, a person has to end. */
export async function endForgotten(life: Life, commands: string[]): Promise<void> {
  if (!(await life.isForgotten())) return;
  commands.push('end of a QEMU that libvirtd has forgotten');
  await life.kill();
}

/**
 * Where libvirtd was killed so that it cannot know what its QEMU runs on, a person is told to end that, and does.
 * @returns whether that was so
 */
export async function endAsTold({ stateDir }: Scene, life: Life, commands: string[]): Promise<boolean> {
  if (!life.alive() || !wantsEnd(stateDir)) return false;
  commands.push('end of a QEMU that libvirtd does not know enough of');
  await life.kill();
  return true;
}

/** By the last that was said of it. */
function wantsEnd(stateDir: string): boolean {
  using journal = Journal.open(stateDir, { readOnly: true });
  const events = journal.events().map(({ type, payload }) => ({ type, ...(payload as { readonly code?: string }) }));
  const failed = events.findLast(({ type }) => type === 'failed');
  const unclear = failed?.code === 'JOB_UNRECORDED' || failed?.code === 'NOT_TAKEN_BACK';
  return unclear && events.at(-1)?.type === 'finished' && unfinished(stateDir) !== undefined;
}

async function recoverEnded({ stateDir }: Scene, managers: Manager[]): Promise<string[]> {
  const manager = Manager.blockferry('recover', '--state-dir', stateDir);
  managers.push(manager);
  await manager.ended;
  if (unfinished(stateDir) !== undefined) throw new Error('still unfinished, and the VM has ended');
  return ['recover'];
}

/** The way that was chosen, or another where that one would be refused for good reason. */
function possible(way: Way, stateDir: string, alive: boolean): Way {
  const id = unfinished(stateDir);
  if (id === undefined) return 'recover all';
  if (way === 'abort' && isCommitted(stateDir)) return 'resume';
  if (way === 'migrate' && !alive) return 'recover';
  return way;
}

function argumentsOf(way: Exclude<Way, 'migrate'>, stateDir: string): string[] {
  const id = unfinished(stateDir) ?? '';
  switch (way) {
    case 'recover all':
      return ['recover'];
    case 'recover --back':
      return ['recover', '--back', id];
    default:
      return [way, id];
  }
}

/** The migration that has not come to its end. */
export function unfinished(stateDir: string): string | undefined {
  using journal = Journal.open(stateDir, { readOnly: true });
  return journal.migrations({ unfinished: true })[0]?.id;
}

/** By the journal. Where it never began, it is as good as rolled back. */
export function endOf(stateDir: string): End {
  using journal = Journal.open(stateDir, { readOnly: true });
  const last = journal.migrations().at(-1);
  if (last === undefined) return { outcome: 'rolled-back' };
  if (last.state !== 'done' && last.state !== 'rolled-back') throw new Error(`${last.id} is ${last.state}`);
  return { outcome: last.state, plan: last.plan as End['plan'] & object };
}
