import { Journal } from '../../src/journal/index.ts';
import type { Choices, Way } from './choices.ts';
import type { End } from './litter.ts';
import { Manager } from './manager.ts';
import type { Scene } from './scene.ts';

/** How many times `recover` is tried after the ways that were chosen: one may fail where the next would not. */
const PATIENCE = 3;

/**
 * Runs the commands that were chosen until the journal says that nothing is unfinished.
 * @param migrate the arguments of the command that began it
 * @param managers takes each process that is started
 * @returns the commands, in words
 * @throws Error when the migration does not come to an end
 */
export async function recover(
  scene: Scene,
  { attempts, gcBefore }: Choices,
  migrate: readonly string[],
  vm: { alive: () => boolean; kill: () => Promise<void> },
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
  let whole = false;
  for (let round = 0; ; round++) {
    const id = unfinished(scene.stateDir);
    if (id === undefined && whole) return commands;
    if (round === attempts.length + PATIENCE) throw new Error(`still unfinished after ${commands.join(', ')}`);
    const attempt = attempts[round];
    const way = possible(attempt?.way ?? 'recover all', scene.stateDir, id, vm.alive());
    const args = way === 'migrate' ? migrate : [...argumentsOf(way, id ?? ''), ...state];
    const manager = Manager.blockferry(...args);
    managers.push(manager);
    if (attempt?.killed) await manager.until(attempt.killed.moment);
    whole = attempt?.killed === undefined || !manager.running;
    if (whole) commands.push(way);
    else {
      commands.push(`${way} (killed at ${manager.step})`);
      manager.kill();
      if (attempt?.killed?.dies === 'both') await vm.kill();
    }
    await manager.ended;
  }
}

/** The way that was chosen, or another where that one would be refused for good reason. */
function possible(way: Way, stateDir: string, id: string | undefined, alive: boolean): Way {
  if (id === undefined) return 'recover all';
  using journal = Journal.open(stateDir, { readOnly: true });
  if (way === 'abort' && journal.commitRecord(id, 'pivot') !== undefined) return 'resume';
  if (way === 'migrate' && !alive) return 'recover';
  return way;
}

function argumentsOf(way: Exclude<Way, 'migrate'>, id: string): string[] {
  switch (way) {
    case 'recover all':
      return ['recover'];
    case 'recover --back':
      return ['recover', '--back', id];
    default:
      return [way, id];
  }
}

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
