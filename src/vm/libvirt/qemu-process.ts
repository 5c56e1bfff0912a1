import { hostname } from 'node:os';
import { readFile, stat } from 'node:fs/promises';
import { type Clock, ferryError, ignoreMissing, run } from '../../base/index.ts';
import type { RemoteDomain } from '../../libvirt/index.ts';
import type { VmIdentity } from '../inventory.ts';
import { type DiscoveredVm, discoverQemu } from '../qemu/discover.ts';
import { ProcFs } from '../qemu/proc-fs.ts';
import { processExists, processName } from '../qemu/process-exists.ts';
import { openFilesOf } from '../qemu/socket-owner.ts';
import type { DomainReach, Libvirtd } from './reach.ts';

/** QEMU may close an image a little after libvirt says that the disk has gone from it. */
const CLOSED_MS = 2000;
const LOOK_EVERY_MS = 20;

/**
 * Who a libvirt domain is on this host: its QEMU is the process that was started with its uuid.
 * @throws FerryError VM_PROCESS_UNKNOWN when there is none here: the domain is on another host
 */
export async function domainIdentity(dom: RemoteDomain, uri: string): Promise<VmIdentity> {
  const found = await qemuOf(dom.uuid);
  if (found === undefined) {
    const reason = `no QEMU here was started with the uuid ${dom.uuid}`;
    throw ferryError('VM_PROCESS_UNKNOWN', { address: uri, reason });
  }
  const { pid, startTime } = found;
  const process = processName({ pid, startTime, bootId: await new ProcFs().bootId() });
  return { name: dom.name, uuid: dom.uuid, host: hostname(), process, pid, address: uri };
}

/** The QEMU of this host that runs for a domain. */
export async function qemuOf(uuid: string): Promise<DiscoveredVm | undefined> {
  const all = (await discoverQemu()).filter((vm) => vm.uuid === uuid);
  return all.find(({ managedBy }) => managedBy === 'libvirt') ?? all[0];
}

/** How a domain of this host is reached. */
export function realReach(dom: RemoteDomain, identity: VmIdentity, connect: () => Promise<Libvirtd>): DomainReach {
  const { pid, process } = identity;
  return {
    dom,
    identity,
    connect,
    hasEnded: async () => !(await processExists(process)),
    hasOpen: (path) => hasOpen(pid, path),
    openFiles: () => openFilesOf(pid),
  };
}

/**
 * Why the user that a process runs as could not get to files in a folder; undefined when nothing speaks against it. The
 * files themselves libvirt gives to that user.
 */
export async function cannotEnter(pid: number, folder: string): Promise<string | undefined> {
  const status = await readFile(`/proc/${pid}/status`, 'utf8').catch(() => '');
  const field = (name: string): string[] =>
    new RegExp(`^${name}:\\s*(.*)$`, 'm').exec(status)?.[1]?.trim().split(/\s+/).filter(Boolean) ?? [];
  const [, uid] = field('Uid');
  const [, gid] = field('Gid');
  // Only root can ask as somebody else, and need not for itself.
  if (process.getuid?.() !== 0 || uid === undefined || gid === undefined || uid === '0') return undefined;
  const groups = field('Groups');
  const as = [
    '--reuid',
    uid,
    '--regid',
    gid,
    ...(groups.length > 0 ? ['--groups', groups.join()] : ['--clear-groups']),
  ];
  const { status: exit } = await run('setpriv', [...as, '--', 'test', '-x', folder], { accept: [0, 1] });
  return exit === 0 ? undefined : `the user that the VM's QEMU runs as (uid ${uid}) may not enter the folder`;
}

async function hasOpen(pid: number, path: string): Promise<boolean> {
  const file = await stat(path, { bigint: true }).catch(ignoreMissing);
  const open = file && (await openFilesOf(pid));
  return open?.some(({ dev, ino }) => dev === String(file?.dev) && ino === String(file?.ino)) ?? false;
}

/**
 * Looks whether a domain's QEMU still has a file open, when it has had the time to close it, that libvirt does not know of: a
 * snapshot that it has forgotten.
 * @throws FerryError SNAPSHOT_UNRECORDED
 */
export async function refuseForgotten(
  reach: Pick<DomainReach, 'dom' | 'hasOpen'>,
  path: string,
  clock: Clock,
): Promise<void> {
  if (await staysOpen(() => reach.hasOpen(path), clock))
    throw ferryError('SNAPSHOT_UNRECORDED', { vm: reach.dom.name, path });
}

/** Whether something is open in QEMU also when it has had the time to close it. */
export async function staysOpen(isOpen: () => Promise<boolean>, clock: Clock): Promise<boolean> {
  const until = clock.monotonic() + CLOSED_MS;
  while (await isOpen()) {
    if (clock.monotonic() > until) return true;
    await clock.sleep(LOOK_EVERY_MS);
  }
  return false;
}
