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

/** What drives the VM's disks. */
export type Driver = 'QMP' | 'libvirt';

/** Who can be killed. `guest off`: the guest turns itself off. */
export type Victim = 'manager' | 'QEMU' | 'libvirtd' | 'guest off';

export type Dies =
  | ('manager' | 'QEMU' | 'both' | 'manager, then QEMU' | 'QEMU, then manager' | 'guest off, then manager')
  | ('libvirtd' | 'libvirtd and manager' | 'libvirtd and QEMU' | 'all')
  | ('libvirtd, then manager' | 'manager, then libvirtd' | 'QEMU, then libvirtd');

/** Who dies together, and who a while later. */
export const BLOWS: Readonly<Record<Dies, readonly (readonly Victim[])[]>> = {
  manager: [['manager']],
  QEMU: [['QEMU']],
  both: [['QEMU', 'manager']],
  'manager, then QEMU': [['manager'], ['QEMU']],
  'QEMU, then manager': [['QEMU'], ['manager']],
  'guest off, then manager': [['guest off'], ['manager']],
  libvirtd: [['libvirtd']],
  'libvirtd and manager': [['libvirtd', 'manager']],
  'libvirtd and QEMU': [['libvirtd', 'QEMU']],
  all: [['libvirtd', 'QEMU', 'manager']],
  'libvirtd, then manager': [['libvirtd'], ['manager']],
  'manager, then libvirtd': [['manager'], ['libvirtd']],
  'QEMU, then libvirtd': [['QEMU'], ['libvirtd']],
};

export interface Blow {
  readonly dies: Dies;
  /** How long after the first the others die, in milliseconds. */
  readonly gap?: number;
}

/** The ways to bring a migration to its end. */
export const WAYS = ['resume', 'recover', 'recover --back', 'recover all', 'abort', 'migrate'] as const;
export type Way = (typeof WAYS)[number];

/** One attempt to recover, that may be killed itself. */
export interface Attempt {
  readonly way: Way;
  readonly killed?: { readonly moment: Moment; readonly dies: 'manager' | 'both' | 'libvirtd and manager' | 'all' };
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

/** A mirrored snapshot in place of a migration; moment and blow are those of one of its two commands. */
export interface SnapshotChoice {
  readonly killed: 'create' | 'end';
  readonly way: 'pivot' | 'abort';
  /** What comes then is killed as well, so many milliseconds after it was started. */
  readonly again?: Blow & { readonly after: number };
}

/** All that is decided about a trial before it begins. Plain data, and the same for the same seed. */
export interface Choices {
  readonly seed: number;
  readonly driver: Driver;
  readonly layout: Layout;
  readonly request: RequestChoice;
  readonly moment: Moment;
  readonly blow: Blow;
  /** `gc --yes` is run before anybody recovers: it must leave everything alone. */
  readonly gcBefore: boolean;
  /** In turn, until one that is not killed has ended it; the last is not. */
  readonly attempts: readonly [Attempt, ...Attempt[]];
  readonly snapshot?: SnapshotChoice;
}

const MiB = 2 ** 20;
/** How long a migration takes about, and the swap in it; and how late a recovery may be killed. Milliseconds. */
const PACE = {
  QMP: { all: 4000, swap: 40, recovery: 1300 },
  libvirt: { all: 8000, swap: 250, recovery: 3000 },
} as const;
const COUNTS = { QMP: [1, 2, 2, 3, 4], libvirt: [1, 2] } as const;

export interface ChoicesOptions {
  /** Default QMP. */
  readonly driver?: Driver;
  /** How many disks the VM may have. */
  readonly counts?: readonly [number, ...number[]];
  /** Mirrored snapshots in place of migrations. Default: false. */
  readonly snapshots?: boolean;
}

export function choose(
  seed: number,
  { driver = 'QMP', counts = COUNTS[driver], snapshots = false }: ChoicesOptions = {},
): Choices {
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
  const moment = chooseMoment(random, request, driver);
  const layout = chooseLayout(random, counts);
  const blow = chooseBlow(random, moment, driver);
  const gcBefore = random.chance(0.1);
  const attempts = chooseAttempts(random, driver);
  const persistent = random.chance(0.6);
  const choices = { seed, driver, layout: { ...layout, persistent }, request, moment, blow, gcBefore, attempts };
  return snapshots ? { ...choices, ...chooseSnapshot(random, driver) } : choices;
}

function chooseSnapshot(random: Random, driver: Driver): Pick<Choices, 'moment' | 'blow' | 'snapshot'> {
  const killed = random.pick(['create', 'end'] as const);
  const steps = { create: ['prepare', 'snapshot', 'mirror'], end: ['attach', 'pivot', 'pivot', 'clean'] } as const;
  const { swap, recovery } = PACE[driver];
  const moment: Moment = random.chance(0.4)
    ? { kind: 'time', after: random.integer(recovery) }
    : {
        kind: 'step',
        at: `${random.pick(steps[killed])} (${random.pick(['begun', 'begun', 'done'])})`,
        after: random.integer(swap + 1),
      };
  const again = { ...chooseBlow(random, moment, driver), after: 100 + random.integer(recovery) };
  const way = random.chance(0.75) ? 'pivot' : 'abort';
  const twice = random.chance(0.4);
  return { moment, blow: chooseBlow(random, moment, driver), snapshot: { killed, way, ...(twice && { again }) } };
}

function chooseMoment(random: Random, { fold, verify }: RequestChoice, driver: Driver): Moment {
  const steps = STEPS.filter((step) => (fold || step !== 'fold') && (verify || step !== 'verify'));
  const step = (): StepName => steps[random.integer(steps.length)] ?? 'pivot';
  const swap = fold && random.chance(0.35) ? 'fold' : 'pivot';
  const kind = random.pick(['time', 'step', 'swap', 'swap', 'exact', 'exact in the swap'] as const);
  switch (kind) {
    case 'time':
      return { kind: 'time', after: random.integer(PACE[driver].all) };
    case 'step':
      return { kind: 'step', at: `${step()} (${random.pick(['begun', 'done'])})`, after: shortTime(random) };
    case 'swap':
      return { kind: 'step', at: `${swap} (begun)`, after: random.integer(PACE[driver].swap + 1) };
    case 'exact':
      return { kind: 'exact', death: { step: step(), when: random.pick(['before', 'after']) } };
    case 'exact in the swap': {
      const points =
        driver === 'QMP'
          ? (['held', 'recorded', 'half released', 'released'] as const)
          : (['half held', 'held', 'recorded', 'released'] as const);
      const when = driver === 'QMP' && swap === 'pivot' && random.chance(0.25) ? 'attached' : random.pick(points);
      return { kind: 'exact', death: { step: swap, when } };
    }
    default:
      return kind satisfies never;
  }
}

function shortTime(random: Random): number {
  return random.pick([0, 1, 3, 10, 30, 100, 300]) * (1 + random.integer(3));
}

function chooseBlow(random: Random, moment: Moment, driver: Driver): Blow {
  const gap = random.pick([1, 10, 100, 500]);
  if (moment.kind === 'exact') {
    const more = driver === 'libvirt' ? (['libvirtd and manager', 'all', 'manager, then libvirtd'] as const) : [];
    return blow(random.pick(['manager', 'both', 'manager, then QEMU', ...more] as const), gap);
  }
  const more =
    driver === 'libvirt'
      ? ([
          'libvirtd',
          'libvirtd',
          'libvirtd and manager',
          'libvirtd and QEMU',
          'all',
          'libvirtd, then manager',
          'manager, then libvirtd',
          'QEMU, then libvirtd',
        ] as const)
      : [];
  const dies = random.pick([
    'manager',
    'manager',
    'QEMU',
    'both',
    'both',
    'manager, then QEMU',
    'QEMU, then manager',
    'guest off, then manager',
    ...more,
  ] as const);
  return blow(dies, gap);
}

function blow(dies: Dies, gap: number): Blow {
  return BLOWS[dies].length === 1 ? { dies } : { dies, gap };
}

const WITH_DAEMON = { manager: 'libvirtd and manager', both: 'all' } as const;

/** None, one or two that are killed, and one that is not. */
function chooseAttempts(random: Random, driver: Driver): Choices['attempts'] {
  const { swap, recovery } = PACE[driver];
  const killed: Attempt[] = [];
  for (let chance = 0.45; killed.length < 2 && random.chance(chance); chance = 0.4) {
    const undo = random.chance(0.5);
    const step = STEPS[random.integer(STEPS.length)] ?? 'pivot';
    const moment: Moment = random.chance(0.5)
      ? { kind: 'time', after: 100 + random.integer(recovery - 100) }
      : { kind: 'step', at: `${step} (${undo ? 'undoing' : 'begun'})`, after: random.integer(swap + 1) };
    const way = random.pick(WAYS);
    const dies = random.chance(0.8) ? 'manager' : 'both';
    const daemonToo = driver === 'libvirt' && random.chance(0.4);
    killed.push({ way, killed: { moment, dies: daemonToo ? WITH_DAEMON[dies] : dies } });
  }
  const last = { way: random.pick(WAYS) };
  const [first, ...rest] = killed;
  return first === undefined ? [last] : [first, ...rest, last];
}
