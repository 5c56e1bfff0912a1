import { dirname } from 'node:path';
import { isQmpCommandError } from '../../qmp/index.ts';
import type { Inventory, VmIdentity } from '../inventory.ts';
import { blockGraph, type DebugGraph } from './block-graph.ts';
import type { StartSettings } from './command-line.ts';
import { type DeviceFacts, describeDisks } from './disks.ts';
import type { Monitor } from './monitor.ts';
import type { OpenFile } from '../virtual-machine.ts';

/** What is known of a VM besides its monitor. */
export interface HostFacts {
  readonly identity: VmIdentity;
  readonly started: StartSettings;
  readonly absolute: (filename: string) => string | undefined;
  /** Whether QEMU's process is gone. */
  readonly hasEnded: () => Promise<boolean>;
  /** Which local files QEMU's process has open; undefined where this user may not know. */
  readonly openFiles: () => Promise<readonly OpenFile[] | undefined>;
}

/** A live migration of the VM itself is over, or never was, in these states of `query-migrate`. */
const NOT_MIGRATING: ReadonlySet<string> = new Set(['none', 'completed', 'failed', 'cancelled']);
/** RunStates of a VM that is on its way to or from another host. */
const MIGRATING_STATES: ReadonlySet<string> = new Set(['inmigrate', 'finish-migrate', 'postmigrate', 'colo']);

/** Everything about a VM's disks that QMP tells, in one go. */
export async function readInventory(qmp: Monitor, { identity, started, absolute }: HostFacts): Promise<Inventory> {
  const [status, version, blocks, named, debug, stats, jobs, migration] = await Promise.all([
    qmp.execute('query-status'),
    qmp.execute('query-version'),
    qmp.execute('query-block'),
    qmp.execute('query-named-block-nodes', { flat: true }),
    qmp.executeRaw('x-debug-query-block-graph') as Promise<DebugGraph>,
    qmp.execute('query-blockstats'),
    qmp.execute('query-jobs'),
    qmp.execute('query-migrate'),
  ]);
  const graph = blockGraph(named, debug);
  const paths = blocks.flatMap(({ qdev }) => (qdev === undefined ? [] : [qdev]));
  const devices = new Map(await Promise.all(paths.map(async (path) => [path, await deviceFacts(qmp, path)] as const)));
  const live = MIGRATING_STATES.has(status.status) ? status.status : migration.status;
  const { qemu } = version;
  return {
    identity,
    status: status.status,
    version: `${qemu.major}.${qemu.minor}.${qemu.micro}`,
    disks: describeDisks({ blocks, graph, stats, devices, started, absolute }),
    jobs: jobs.map(({ id, type, status }) => ({ id, type, status })),
    ...(live !== undefined && !NOT_MIGRATING.has(live) && { liveMigration: live }),
    nodes: [...graph.nodes.keys()],
    sharedNodes: [...graph.nodes.values()].filter(({ parents }) => parents > 1).map(({ name }) => name),
  };
}

async function deviceFacts(qmp: Monitor, path: string): Promise<DeviceFacts> {
  const names = ['type', 'share-rw', 'event_idx', 'parent_bus'];
  const [type, shareable, eventIndices, bus] = await Promise.all(names.map((name) => property(qmp, path, name)));
  return {
    type: typeof type === 'string' ? type : '',
    shareable: shareable === true,
    threaded: await isThreaded(qmp, eventIndices === undefined && typeof bus === 'string' ? dirname(bus) : path),
  };
}

/** @param path the device whose queues carry the requests: the disk itself, or the controller whose bus it is on (virtio-scsi) */
async function isThreaded(qmp: Monitor, path: string): Promise<boolean> {
  const names = ['iothread', 'iothread-vq-mapping', 'event_idx'];
  const [thread, threads, eventIndices] = await Promise.all(names.map((name) => property(qmp, path, name)));
  const has = (typeof thread === 'string' && thread !== '') || (Array.isArray(threads) && threads.length > 0);
  return has && eventIndices === true;
}

/** A property of a device (`qom-get`); undefined where the device has none of that name. */
async function property(qmp: Monitor, path: string, name: string): Promise<unknown> {
  try {
    return await qmp.execute('qom-get', { path, property: name });
  } catch (error) {
    if (isQmpCommandError(error)) return undefined;
    throw error;
  }
}
