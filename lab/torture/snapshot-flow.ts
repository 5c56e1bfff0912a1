import { existsSync } from 'node:fs';
import { cp, readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { Journal } from '../../src/journal/index.ts';
import type { Choices, Moment, SnapshotChoice } from './choices.ts';
import { Manager } from './manager.ts';
import { endAsTold, endForgotten, type Flow, isCommitted, unfinished } from './recovery.ts';
import type { Scene } from './scene.ts';
import { type Life, strike } from './strike.ts';

const NAME = 'kept';
const LOOK_EVERY_MS = 2;

/**
 * The flow of the patch: a mirrored snapshot, the images copied by its user, and its end one way or the other. One of the two
 * commands is killed, and perhaps what comes after it; then a person does what there is to do, until nothing stands.
 * @param managers takes each process that is started
 * @throws Error when it does not come to an end
 */
export async function snapshotFlow(
  scene: Scene,
  { blow, moment }: Choices,
  { killed, way, again }: SnapshotChoice,
  life: Life,
  managers: Manager[],
): Promise<Flow> {
  const { trialVm, source, target, stateDir, disks } = scene;
  const state = ['--state-dir', stateDir];
  // virsh's commands take a name, also where a socket says which VM it is.
  const domain = [...trialVm.named.filter((word) => word !== trialVm.name), '--domain', trialVm.name];
  const run = (...args: readonly string[]): Manager => {
    const manager = Manager.blockferry(...args, ...state);
    managers.push(manager);
    return manager;
  };
  const specs = disks.flatMap(({ id }) => {
    const [file, mirror] = [join(source, `${id}.overlay.qcow2`), join(target, `${id}-mirror.overlay.qcow2`)];
    return ['--diskspec', `${id},file=${file},mirror=${mirror}`];
  });
  const create = (): Manager => run('snapshot-create-as', ...domain, '--name', NAME, '--disk-only', ...specs);
  const end = (how: SnapshotChoice['way']): Manager =>
    run('snapshot-delete', ...domain, '--snapshotname', NAME, `--mirror-${how}`);

  const copied: string[] = [];
  const copy = async (): Promise<void> => {
    for (const name of await readdir(source)) {
      if (name.endsWith('.overlay.qcow2')) continue;
      await cp(join(source, name), join(target, name));
      copied.push(join(target, name));
    }
  };

  let dying = create();
  if (killed === 'end') {
    if ((await dying.ended) !== 0) throw new Error('nobody was killed, and it failed all the same');
    await copy();
    await Promise.all(scene.writers.map((writer) => writer.advanced(2)));
    dying = end(way);
  }
  await until(moment, dying, stateDir);
  await dying.refuseFailure();
  const phase = dying.running ? `${killed}: ${lastStep(stateDir)}` : 'after the end';
  await strike(blow, dying, life);
  await dying.ended;

  const commands: string[] = [];
  // It may be killed once more, whatever it is.
  let kill = again;
  const done = async (words: string, manager: Manager): Promise<boolean> => {
    if (kill !== undefined) await Promise.race([sleep(kill.after), manager.ended]);
    const dies = kill !== undefined && manager.running;
    commands.push(dies ? `${words} (killed)` : words);
    if (dies && kill !== undefined) await strike(kill, manager, life);
    kill = undefined;
    await manager.ended;
    await endAsTold(scene, life, commands);
    return unfinished(stateDir) === undefined;
  };
  const goBack = (): SnapshotChoice['way'] => (isCommitted(stateDir) ? 'pivot' : copied.length > 0 ? way : 'abort');
  for (const act of [
    () => done('recover', run('recover')),
    () => done(`--mirror-${goBack()}`, end(goBack())),
    () => done('recover', run('recover')),
    () => done('--mirror-abort', end('abort')),
    () => done('recover', run('recover')),
  ]) {
    if (unfinished(stateDir) === undefined) return { phase, commands, copied };
    await endForgotten(life, commands);
    if (await act()) return { phase, commands, copied };
  }
  throw new Error(`it stands still after ${commands.join(', ')}`);
}

/** Waits until a moment has come, as the journal tells: these commands do not. */
async function until(moment: Moment, manager: Manager, stateDir: string): Promise<void> {
  if (moment.kind === 'exact') throw new Error('these commands do not kill themselves');
  if (moment.kind === 'step') {
    while (manager.running && !steps(stateDir).includes(moment.at)) await sleep(LOOK_EVERY_MS);
  }
  await Promise.race([sleep(moment.after), manager.ended]);
}

function lastStep(stateDir: string): string {
  return steps(stateDir).at(-1) ?? 'before the first step';
}

function steps(stateDir: string): string[] {
  if (!existsSync(join(stateDir, 'journal.db'))) return [];
  using journal = Journal.open(stateDir, { readOnly: true });
  return journal.events().flatMap(({ type, payload }) => {
    const { step, state } = payload as { readonly step?: string; readonly state?: string };
    return type === 'step' && step !== undefined ? [`${step} (${state})`] : [];
  });
}
