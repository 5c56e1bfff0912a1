import { readFile, readlink } from 'node:fs/promises';
import { hostname } from 'node:os';
import { isAbsolute, resolve } from 'node:path';
import { ferryError } from '../../base/index.ts';
import { formatQmpAddress, type QmpAddress, type QmpClient } from '../../qmp/index.ts';
import { startSettings } from './command-line.ts';
import { processExists, processName } from './process-exists.ts';
import { openFilesOf, processOfSocket } from './socket-owner.ts';
import type { HostFacts } from './read-inventory.ts';

/** Who the VM behind a monitor is: what QEMU says, and the process that listens there. */
export async function hostFacts(qmp: QmpClient, address: QmpAddress): Promise<HostFacts> {
  const [name, uuid, owner] = await Promise.all([
    qmp.execute('query-name'),
    qmp.execute('query-uuid'),
    processOfSocket(address),
  ]);
  const shown = formatQmpAddress(address);
  if (owner === undefined) {
    const reason = 'no process of this host listens there, or this user may not look into it';
    throw ferryError('VM_PROCESS_UNKNOWN', { address: shown, reason });
  }
  const { pid } = owner;
  const process = processName(owner);
  const cwd = await readlink(`/proc/${pid}/cwd`).catch(() => undefined);
  const argv = await readFile(`/proc/${pid}/cmdline`, 'utf8').catch(() => '');
  return {
    identity: {
      name: name.name ?? shown,
      uuid: /^[0-]+$/.test(uuid.UUID) ? '' : uuid.UUID.toLowerCase(),
      host: hostname(),
      process,
      pid,
      address: 'path' in address ? resolve(address.path) : shown,
    },
    started: startSettings(argv.split('\0')),
    hasEnded: async () => !(await processExists(process)),
    openFiles: () => openFilesOf(pid),
    // QEMU keeps a relative name as it was given, and it means what it meant in QEMU's own folder.
    absolute: (filename) => {
      if (isAbsolute(filename)) return filename;
      return cwd === undefined || filename.startsWith('json:') ? undefined : resolve(cwd, filename);
    },
  };
}
