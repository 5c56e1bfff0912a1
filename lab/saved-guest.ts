import { createHash } from 'node:crypto';
import { readdir, rm, stat } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { QmpClient } from '../src/qmp/index.ts';
import { cached } from './cache.ts';
import { LabError } from './requires.ts';

/**
 * A guest that has booted and does nothing yet. A VM with the same devices goes on from it in a fifth of a second, instead of
 * booting for six under TCG. The guest knows nothing of what is on its disks (nothing was read from them), only their sizes.
 */
export interface SavedGuest {
  /** The guest's memory. VMs map it privately: none changes it. */
  readonly memory: string;
  /** The state of the devices, as QEMU writes it when it migrates a VM. */
  readonly devices: string;
}

/** How long ago a saved guest must have been made to be removed when another one is, in milliseconds. */
const OUTDATED_MS = 24 * 3_600_000;
const LOOK_EVERY_MS = 3;
const FORMAT = 2;

/**
 * The saved guest of this shape, from the cache, or made on first use.
 * @param shape all that the state depends on: build of QEMU, guest image, devices. Plain data
 * @param make boots a VM with `memory` as its memory file and hands its monitor to `save`
 */
export async function savedGuest(
  shape: object,
  make: (memory: string, save: (qmpPath: string) => Promise<void>) => Promise<void>,
): Promise<SavedGuest> {
  const key = createHash('sha256')
    .update(JSON.stringify({ FORMAT, ...shape }))
    .digest('hex')
    .slice(0, 16);
  const folder = await cached(`guest-state-${key}`, async (making) => {
    const made = filesIn(making);
    await make(made.memory, (qmpPath) => save(qmpPath, made.devices));
    await removeOutdated(dirname(making));
  });
  return filesIn(folder);
}

function filesIn(folder: string): SavedGuest {
  return { memory: join(folder, 'memory'), devices: join(folder, 'devices') };
}

/** Writes the state of a VM's devices to a file; its memory file has the memory. The VM is stopped, and stays so. */
async function save(qmpPath: string, devices: string): Promise<void> {
  await using qmp = await QmpClient.connect({ path: qmpPath });
  await onlyDevices(qmp);
  await qmp.execute('stop');
  await qmp.executeRaw('migrate', { uri: `exec:cat > '${devices}'` });
  await migrated(qmp);
}

/** Lets a VM that was started with `-incoming defer` and a private map of the memory file go on from it. */
export async function restoreGuest(qmpPath: string, { devices }: SavedGuest): Promise<void> {
  await using qmp = await QmpClient.connect({ path: qmpPath });
  await onlyDevices(qmp);
  await qmp.executeRaw('migrate-incoming', { uri: `exec:cat '${devices}'` });
  await migrated(qmp);
  await qmp.execute('cont');
}

/** Memory that was shared with a file when the state was written is not part of it. */
async function onlyDevices(qmp: QmpClient): Promise<void> {
  const capabilities = [{ capability: 'x-ignore-shared', state: true }];
  await qmp.executeRaw('migrate-set-capabilities', { capabilities });
}

async function migrated(qmp: QmpClient): Promise<void> {
  for (;;) {
    const { status, 'error-desc': error } = await qmp.execute('query-migrate');
    if (status === 'completed') return;
    if (status === 'failed') throw new LabError(`the state of the guest could not be saved or loaded: ${error ?? ''}`);
    await sleep(LOOK_EVERY_MS);
  }
}

/** A saved guest takes some 270 MB. */
async function removeOutdated(cache: string): Promise<void> {
  for (const name of (await readdir(cache)).filter((entry) => entry.startsWith('guest-state-'))) {
    const { mtimeMs } = await stat(join(cache, name));
    if (Date.now() - mtimeMs > OUTDATED_MS) await rm(join(cache, name), { recursive: true, force: true });
  }
}
