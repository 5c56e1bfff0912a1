import type { MirrorNode } from '../vm/index.ts';
import type { PlannedDisk } from './plan/plan.ts';
import type { Run } from './run.ts';

type Served = NonNullable<MirrorNode['served']>;

/**
 * Between the mirrors and the target stands a server that can be cut off. A target that hangs would hold the guest without
 * limit where `job-complete` flushes it with the disk drained, and where the processors are stopped (7.2 and 10.0); and a
 * mirror that waits for it could not be ended. Cut off, QEMU has an I/O error within milliseconds, and everything ends.
 *
 * The server is in the ledger before it is started: as a process, by the folder that its sockets are in.
 * @returns where each disk's mirror finds its file
 * @throws FerryError TOOL_FAILED, TOOL_MISSING
 */
export async function startMirrorServer(run: Run, disks: readonly PlannedDisk[]): Promise<ReadonlyMap<string, Served>> {
  const { plan, host, ledger, vm } = run;
  const folder = host.serverFolder(plan.id, ledger.count('process'));
  ledger.plan('process', folder, 'mirror-server');
  const images = disks.map(({ targetOverlay, size, settings }, n) => {
    return { path: targetOverlay, name: `image${n}`, direct: settings.direct, length: lengthFor(size) };
  });
  const socket = await host.serveImages(folder, images, vm.identity);
  ledger.made('process', folder);
  return new Map(disks.map(({ id }, n) => [id, { socket, name: `image${n}` }]));
}

/** The longest that a qcow2 image of a disk can become: all of its clusters, and its tables with the smallest of them. */
function lengthFor(size: number): number {
  const MiB = 2 ** 20;
  return Math.ceil((size * 1.0625) / MiB) * MiB + 64 * MiB;
}

/** Whether mirrors are opened on a server now. */
export function isServed({ ledger }: Run): boolean {
  return ledger.live('process').length > 0;
}

/** Whether what serves the mirrors answers. True where nothing does. */
export async function mirrorServerAnswers({ host, ledger }: Run): Promise<boolean> {
  const answers = await Promise.all(ledger.live('process').map((folder) => host.imageServerAnswers(folder)));
  return !answers.includes(false);
}

/** Takes the target away from the mirrors: what waits for it has an error at once. Does nothing where there is no server. */
export async function cutMirrorServer({ host, ledger }: Run): Promise<void> {
  await Promise.all(ledger.live('process').map((folder) => host.cutImageServer(folder)));
}

/** Ends the server, when the mirrors are closed or on their own files. */
export async function endMirrorServer({ host, ledger }: Pick<Run, 'host' | 'ledger'>): Promise<void> {
  for (const folder of ledger.live('process')) {
    await host.endImageServer(folder);
    ledger.gone('process', folder);
  }
}
