/**
 * A process that takes a snapshot, and dies before or after QEMU does: for tests of what is found then. Its
 * only argument is a `SnapshotOrder` as JSON.
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import { systemClock } from '../src/base/index.ts';
import { createAsXml } from '../src/domainsnapshot/index.ts';
import { Journal } from '../src/journal/index.ts';
import { KeptDomain } from '../src/snapshots/index.ts';
import { processExists, QemuVm } from '../src/vm/index.ts';
import { LabError } from './requires.ts';

/** What it is to do. Plain data. */
export interface SnapshotOrder {
  readonly qmpPath: string;
  readonly stateDir: string;
  readonly vm: string;
  readonly name: string;
  /**
   * When the first file is made, and nobody has noted that; `before` the transaction, with all files made, or `after` it. With
   * `quiesce` that is before the guest is frozen, and while it is; and it may be `frozen` with the transaction still to come.
   */
  readonly dies: 'making' | 'before' | 'frozen' | 'after';
  /** The guest's file systems are frozen meanwhile. Default: false. */
  readonly quiesce?: boolean;
  /** As on the command line. Default: none. */
  readonly diskspecs?: readonly string[];
}

/** Runs it to its death. @throws LabError when it ended otherwise */
export async function dieTakingSnapshot(order: SnapshotOrder): Promise<void> {
  const child = spawn(process.execPath, [fileURLToPath(import.meta.url), JSON.stringify(order)], {
    stdio: ['ignore', 'ignore', 'pipe'],
  });
  let stderr = '';
  child.stderr.setEncoding('utf8').on('data', (text: string) => (stderr += text));
  const [, signal] = (await once(child, 'close')) as [number | null, string | null];
  if (signal !== 'SIGKILL') throw new LabError(`the process that takes a snapshot did not die: ${stderr.trim()}`);
}

/** SIGKILL: no handler, no clean-up, nothing said. */
function die(): void {
  process.kill(process.pid, 'SIGKILL');
}

/** The VM, but for the snapshot, which is the last thing that this process does, or does not any more. */
async function mortal({ qmpPath, dies }: SnapshotOrder): Promise<QemuVm> {
  const vm = await QemuVm.connect({ path: qmpPath });
  const take = vm.snapshot.bind(vm);
  vm.snapshot = async (overlays, beforeFreeze) => {
    const freezing = beforeFreeze && ((): void => void (beforeFreeze(), dies === 'before' && die()));
    // Of no disk, it freezes the guest and nothing else.
    if (dies === 'after' || freezing) await take(dies === 'after' ? overlays : [], freezing);
    die();
    await new Promise<never>(() => undefined);
  };
  return vm;
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const order = JSON.parse(process.argv[2] ?? '{}') as SnapshotOrder;
  const domain = new KeptDomain({
    owner: { name: order.vm, uuid: '' },
    clock: systemClock,
    openJournal: (use) => {
      const journal = Journal.open(order.stateDir, { readOnly: use === 'look' });
      if (order.dies === 'making') journal.updateSnapshotIntent = die;
      return journal;
    },
    vm: { processExists, connect: async () => await mortal(order) },
  });
  const { name, diskspecs = [], quiesce = false } = order;
  await domain.create(createAsXml({ name, diskspecs }), ['DISK_ONLY', ...(quiesce ? (['QUIESCE'] as const) : [])]);
}
