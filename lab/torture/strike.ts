import { setTimeout as sleep } from 'node:timers/promises';
import { type Blow, BLOWS, type Victim } from './choices.ts';
import type { Manager } from './manager.ts';
import type { TrialVm } from './trial-vm.ts';

/** A guest that turns itself off does so in a second; one whose I/O is held may not. */
const OFF_WITHIN_MS = 5000;

/** The life of a trial's VM, and of what runs it. */
export interface Life {
  alive(): boolean;
  kill(): Promise<void>;
  turnOff(): Promise<void>;
  killDaemon(): Promise<void>;
  /** Whether a person has to end its QEMU: the daemon does not know that it runs. */
  isForgotten(): Promise<boolean>;
}

export function lifeOf(trialVm: TrialVm): Life {
  const { vm } = trialVm;
  let alive = true;
  void vm.exited.then(() => (alive = false));
  return {
    alive: () => alive,
    kill: () => vm.kill(),
    turnOff: async () => {
      await Promise.race([vm.stop(), sleep(OFF_WITHIN_MS)]);
      await vm.kill();
    },
    killDaemon: () => trialVm.killDaemon(),
    isForgotten: async () => alive && (await trialVm.isForgotten()) && alive,
  };
}

/** Kills whom the blow is for; resolves when they are gone, and a daemon that died is there again. */
export async function strike({ dies, gap = 0 }: Blow, manager: Manager, life: Life): Promise<void> {
  const deaths: Promise<void>[] = [];
  const die: Readonly<Record<Victim, () => Promise<void>>> = {
    manager: () => Promise.resolve(manager.kill()),
    QEMU: () => life.kill(),
    libvirtd: () => life.killDaemon(),
    'guest off': () => life.turnOff(),
  };
  for (const [n, together] of BLOWS[dies].entries()) {
    if (n > 0) await sleep(gap);
    for (const victim of together) deaths.push(die[victim]());
    // A guest takes its time, and a daemon starts again at once.
    if (together.some((victim) => victim === 'QEMU')) await deaths.at(-1);
  }
  await Promise.all(deaths);
}
