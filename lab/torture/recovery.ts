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
    if (await life.isForgotten()) {
      commands.push('end of a QEMU that libvirtd has forgotten');
      await life.kill();
    }
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
  }
  throw new Error(`still unfinished after ${commands.join(', ')}`);
}

/** The way that was chosen, or another where that one would be refused for good reason. */
function possible(way: Way, stateDir: string, alive: boolean): Way {
  const id = unfinished(stateDir);
  if (id === undefined) return 'recover all';
  using journal = Journal.open(stateDir, { readOnly: true });
  if (way === 'abort' && journal.commitRecord(id, 'pivot') !== undefined) return 'resume';
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

function unfinished(stateDir: string): string | undefined {
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
