import { STEPS, type StepName } from '../../src/migration/index.ts';
import type { Death } from '../migration-process.ts';
import { chooseLayout, type Layout } from './layout.ts';
import { type Random, random as randomOf } from './random.ts';

/** When something is killed. Times in milliseconds. */
export type Moment =
  /** So long after the process was started. */
  | { readonly kind: 'time'; readonly after: number }
  /** So long after it said that a step has begun or ended; or at its end, where it does not come to that. */
  | { readonly kind: 'step'; readonly at: string; readonly after: number }
  /** The manager kills itself, at an exact point of its work. */
  | { readonly kind: 'exact'; readonly death: Death };

/** Who dies, and who a while later. `off`: the guest turns itself off. */
export type Blow =
  | { readonly dies: 'manager' | 'QEMU' | 'both' }
  | { readonly dies: 'manager, then QEMU' | 'QEMU, then manager' | 'guest off, then manager'; readonly gap: number };

/** The ways to bring a migration to its end. */
export const WAYS = ['resume', 'recover', 'recover --back', 'recover all', 'abort', 'migrate'] as const;
export type Way = (typeof WAYS)[number];

/** One attempt to recover, that may be killed itself. */
export interface Attempt {
  readonly way: Way;
  readonly killed?: { readonly moment: Moment; readonly dies: 'manager' | 'both' };
}

export interface RequestChoice {
  readonly verify: boolean;
  readonly fold: boolean;
  readonly keepSource: boolean;
  readonly leaveLink: boolean;
  /** Bytes per second; 0: no limit. */
  readonly bandwidth: number;
  readonly mirrorServer: boolean;
}

/** All that is decided about a trial before it begins. Plain data, and the same for the same seed. */
export interface Choices {
  readonly seed: number;
  readonly layout: Layout;
  readonly request: RequestChoice;
  readonly moment: Moment;
  readonly blow: Blow;
  /** `gc --yes` is run before anybody recovers: it must leave everything alone. */
  readonly gcBefore: boolean;
  /** In turn, until one that is not killed has ended it; the last is not. */
  readonly attempts: readonly [Attempt, ...Attempt[]];
}

const MiB = 2 ** 20;
const SWAP_MS = 40;

/** @param counts how many disks the VM may have */
export function choose(seed: number, counts: readonly [number, ...number[]] = [1, 2, 2, 3, 4]): Choices {
  const random = randomOf(seed);
  const fold = random.chance(0.8);
  const request: RequestChoice = {
    verify: random.chance(0.75),
    fold,
    keepSource: random.chance(0.2),
    // A link from a raw image to an overlay would be refused.
    leaveLink: fold && random.chance(0.2),
    bandwidth: random.chance(0.1) ? 20 * MiB : 0,
    mirrorServer: random.chance(0.9),
  };
  const moment = chooseMoment(random, request);
  return {
    seed,
    layout: chooseLayout(random, counts),
    request,
    moment,
    blow: chooseBlow(random, moment),
    gcBefore: random.chance(0.1),
    attempts: chooseAttempts(random),
  };
}

function chooseMoment(random: Random, { fold, verify }: RequestChoice): Moment {
  const steps = STEPS.filter((step) => (fold || step !== 'fold') && (verify || step !== 'verify'));
  const step = (): StepName => steps[random.integer(steps.length)] ?? 'pivot';
  const swap = fold && random.chance(0.35) ? 'fold' : 'pivot';
  const kind = random.pick(['time', 'step', 'swap', 'swap', 'exact', 'exact in the swap'] as const);
  switch (kind) {
    case 'time':
      return { kind: 'time', after: random.integer(4000) };
    case 'step':
      return { kind: 'step', at: `${step()} (${random.pick(['begun', 'done'])})`, after: shortTime(random) };
    case 'swap':
      return { kind: 'step', at: `${swap} (begun)`, after: random.integer(SWAP_MS + 1) };
    case 'exact':
      return { kind: 'exact', death: { step: step(), when: random.pick(['before', 'after']) } };
    case 'exact in the swap': {
      const points = ['held', 'recorded', 'half released', 'released'] as const;
      const when = swap === 'pivot' && random.chance(0.25) ? 'attached' : random.pick(points);
      return { kind: 'exact', death: { step: swap, when } };
    }
    default:
      return kind satisfies never;
  }
}

function shortTime(random: Random): number {
  return random.pick([0, 1, 3, 10, 30, 100, 300]) * (1 + random.integer(3));
}

function chooseBlow(random: Random, moment: Moment): Blow {
  const gap = random.pick([1, 10, 100, 500]);
  if (moment.kind === 'exact') {
    const dies = random.pick(['manager', 'both', 'manager, then QEMU'] as const);
    return dies === 'manager, then QEMU' ? { dies, gap } : { dies };
  }
  const dies = random.pick([
    'manager',
    'manager',
    'QEMU',
    'both',
    'both',
    'manager, then QEMU',
    'QEMU, then manager',
    'guest off, then manager',
  ] as const);
  return dies === 'manager' || dies === 'QEMU' || dies === 'both' ? { dies } : { dies, gap };
}

/** None, one or two that are killed, and one that is not. */
function chooseAttempts(random: Random): Choices['attempts'] {
  const killed: Attempt[] = [];
  for (let chance = 0.45; killed.length < 2 && random.chance(chance); chance = 0.4) {
    const undo = random.chance(0.5);
    const step = STEPS[random.integer(STEPS.length)] ?? 'pivot';
    const moment: Moment = random.chance(0.5)
      ? { kind: 'time', after: 100 + random.integer(1200) }
      : { kind: 'step', at: `${step} (${undo ? 'undoing' : 'begun'})`, after: random.integer(SWAP_MS + 1) };
    killed.push({ way: random.pick(WAYS), killed: { moment, dies: random.chance(0.8) ? 'manager' : 'both' } });
  }
  const last = { way: random.pick(WAYS) };
  const [first, ...rest] = killed;
  return first === undefined ? [last] : [first, ...rest, last];
}
