import { type Clock, systemClock } from '../../base/index.ts';
import { Journal } from '../../journal/index.ts';
import type { MigrationEvent } from '../../migration/index.ts';
import { type CommandOutcome, KeptDomain, runSnapshotCommand } from '../../snapshots/index.ts';
import { processExists, type QemuVm } from '../../vm/index.ts';

/** A VM over QMP and who keeps its snapshots. */
export interface KeptPlace {
  /** The VM's name. */
  readonly vm: string;
  readonly stateDir: string;
  readonly connect: () => Promise<QemuVm | undefined>;
  /** Default: the real one. */
  readonly clock?: Clock;
}

export interface KeptOutcome extends CommandOutcome {
  /** What virsh does not say. */
  readonly events: readonly MigrationEvent[];
  readonly warnings: readonly string[];
}

/** One of virsh's snapshot commands as the program runs it, without the start of a process. */
export async function keptCommand(where: KeptPlace, ...argv: readonly string[]): Promise<KeptOutcome> {
  const events: MigrationEvent[] = [];
  const domain = new KeptDomain({
    owner: { name: where.vm, uuid: '' },
    clock: where.clock ?? systemClock,
    onEvent: (event) => void events.push(event),
    openJournal: (use) => Journal.open(where.stateDir, { readOnly: use === 'look' }),
    vm: { processExists, connect: where.connect },
  });
  const host = { domain: async (): Promise<KeptDomain> => await Promise.resolve(domain) };
  const [command = '', ...args] = argv;
  const outcome = await runSnapshotCommand({ host, cwd: '/', edit: noEditor }, [command, where.vm, ...args]);
  const warnings = events.flatMap((event) => (event.type === 'warning' ? [event.message] : []));
  return { ...outcome, events, warnings };
}

async function noEditor(): Promise<string> {
  return await Promise.reject(new Error('there is none'));
}
