import { DOMAIN_STATE, isLibvirtError, type RemoteDomain } from '../../libvirt/index.ts';
import type { BlockJob, Disk, ImageNode, Inventory, NodeSettings, VmIdentity } from '../inventory.ts';
import { type DomainDescription, type DomainDisk, type DomainImage, parseDomain } from './domain-xml.ts';
import type { Libvirtd } from './reach.ts';

/** What a connection has read last: mostly it is the same again, and to read it takes longer than to ask for it. */
const lastRead = new WeakMap<Libvirtd, { readonly xml: string; readonly domain: DomainDescription }>();

/** One look at the domain's XML as it runs. */
export async function describe(client: Libvirtd, dom: RemoteDomain): Promise<DomainDescription> {
  const { xml } = await client.call('DOMAIN_GET_XML_DESC', { dom });
  const last = lastRead.get(client);
  if (last?.xml === xml) return last.domain;
  const domain = parseDomain(xml);
  lastRead.set(client, { xml, domain });
  return domain;
}

/** libvirt's states in QEMU's words, where it has one. */
const STATUS: Readonly<Record<number, string>> = {
  [DOMAIN_STATE.RUNNING]: 'running',
  [DOMAIN_STATE.BLOCKED]: 'running',
  [DOMAIN_STATE.PAUSED]: 'paused',
  [DOMAIN_STATE.SHUTDOWN]: 'shutdown',
  [DOMAIN_STATE.SHUTOFF]: 'shut off',
  [DOMAIN_STATE.CRASHED]: 'guest-panicked',
  [DOMAIN_STATE.PMSUSPENDED]: 'suspended',
};

/** One look at a domain: disks, chains, jobs. */
export async function readDomain(client: Libvirtd, dom: RemoteDomain, identity: VmIdentity): Promise<Inventory> {
  const [domain, { state }, { hv_ver: version }, snapshots, checkpoints, { type: job }] = await Promise.all([
    describe(client, dom),
    client.call('DOMAIN_GET_STATE', { dom }),
    client.call('CONNECT_GET_VERSION'),
    client.call('DOMAIN_LIST_ALL_SNAPSHOTS', { dom, need_results: 1 }),
    client.call('DOMAIN_LIST_ALL_CHECKPOINTS', { dom, need_results: 1 }),
    client.call('DOMAIN_GET_JOB_INFO', { dom }),
  ]);
  const disks = await Promise.all(domain.disks.map((disk) => readDisk(client, dom, disk)));
  const jobs = await Promise.all(domain.disks.map((disk) => readJob(client, dom, disk)));
  const keeps = [
    ...snapshots.snapshots.map(({ name }) => `the snapshot '${name}'`),
    ...checkpoints.checkpoints.map(({ name }) => `the checkpoint '${name}'`),
    ...domain.disks.filter(({ transient }) => transient).map(({ target }) => `the transient disk ${target}`),
  ];
  return {
    identity,
    naming: 'files',
    status: STATUS[state] ?? `state ${state}`,
    version: [1_000_000n, 1000n, 1n].map((unit) => (version / unit) % 1000n).join('.'),
    disks,
    jobs: jobs.flat(),
    ...(job === 0 ? {} : { liveMigration: 'active' }),
    nodes: [],
    sharedNodes: sharedFiles(disks),
    ...(keeps.length > 0 && { obstacles: keeps.map((what) => `libvirt keeps ${what}, which names its files`) }),
  };
}

async function readDisk(client: Libvirtd, dom: RemoteDomain, disk: DomainDisk): Promise<Disk> {
  const { target, alias, device, bus, images } = disk;
  const [active] = images;
  const asked = active && {
    info: (await client.call('DOMAIN_GET_BLOCK_INFO', { dom, path: target })).capacity,
    written: (await client.call('DOMAIN_BLOCK_STATS', { dom, path: target })).wr_bytes,
  };
  return {
    id: target,
    names: alias === undefined ? [] : [alias],
    deviceType: `${bus}-${device}`,
    ...(active && { rootNode: active.filename }),
    filters: [],
    images: images.map((image, level) => imageNode(image, disk.readOnly || level > 0)),
    size: Number(asked?.info ?? 0n),
    readOnly: disk.readOnly,
    removable: device === 'cdrom' || device === 'floppy',
    shareable: disk.shareable,
    ...(disk.driver.threaded && { threaded: true }),
    settings: settingsOf(disk),
    bitmaps: [],
    writtenBytes: Number(asked?.written ?? 0n),
  };
}

/** The block job of a disk, if there is one. */
async function readJob(client: Libvirtd, dom: RemoteDomain, disk: DomainDisk): Promise<BlockJob[]> {
  if (disk.images.length === 0) return [];
  const TYPES = ['unknown', 'pull', 'copy', 'commit', 'active-commit', 'backup'];
  try {
    const { found, type } = await client.call('DOMAIN_GET_BLOCK_JOB_INFO', { dom, path: disk.target });
    if (found === 0) return [];
    return [{ id: disk.target, type: TYPES[type] ?? 'unknown', status: disk.mirror?.ready ? 'ready' : 'running' }];
  } catch (error) {
    // Drives that cannot have jobs.
    if (isLibvirtError(error)) return [];
    throw error;
  }
}

/** A file is its own name: libvirt's names of nodes are its own business, and change. */
function imageNode({ type, path, filename, format }: DomainImage, readOnly: boolean): ImageNode {
  const protocol = type === 'file' ? 'file' : type === 'block' ? 'host_device' : type;
  const named = path === undefined ? {} : { path };
  return { node: filename, fileNode: filename, format, protocol, ...named, filename, readOnly };
}

/** libvirt keeps the settings of a disk itself, whatever image it stands on. */
function settingsOf({ driver }: DomainDisk): NodeSettings {
  const { cache, io, discard, zeroes } = driver;
  return {
    direct: cache === 'none' || cache === 'directsync',
    detectZeroes: zeroes === 'on' || zeroes === 'unmap' ? zeroes : 'off',
    discard: discard === 'unmap' ? 'unmap' : 'ignore',
    ...(io === 'native' || io === 'threads' || io === 'io_uring' ? { aio: io } : {}),
  };
}

function sharedFiles(disks: readonly Disk[]): string[] {
  const all = disks.flatMap(({ images }) => images.map(({ node }) => node));
  return [...new Set(all.filter((name, index) => all.indexOf(name) !== index))];
}
