import type { CommandReturns } from '../../qmp/index.ts';
import type { Disk, ImageNode, NodeSettings } from '../inventory.ts';
import { type BlockGraph, nodeChain } from './block-graph.ts';
import { deviceKey, type StartSettings } from './command-line.ts';

type BlockInfo = CommandReturns<'query-block'>[number];
type BlockStats = CommandReturns<'query-blockstats'>[number];

/** What QOM says of the device that holds a drive. */
export interface DeviceFacts {
  readonly type: string;
  /** `share-rw`: another VM may write to it. */
  readonly shareable: boolean;
  /** Whether it is `threaded`, in the words of `Disk`. */
  readonly threaded: boolean;
}

/** Everything that the description of a VM's disks is made from. */
export interface BlockFacts {
  readonly blocks: readonly BlockInfo[];
  readonly graph: BlockGraph;
  readonly stats: readonly BlockStats[];
  /** By the QOM path of `query-block`'s `qdev`. */
  readonly devices: ReadonlyMap<string, DeviceFacts>;
  readonly started: StartSettings;
  /** Makes a file name of the VM absolute; undefined where it cannot be known. */
  readonly absolute: (filename: string) => string | undefined;
}

/**
 * What a drive is called: the id of `-drive`, else the id of the device, else its place in the device tree. Never the
 * node-name, which changes when an overlay or a mirror takes its place.
 */
export function diskId({ device, qdev }: Pick<BlockInfo, 'device' | 'qdev'>): string {
  return device !== '' ? device : deviceId(qdev ?? '');
}

/** `vda` of `/machine/peripheral/vda/virtio-backend`, `device[3]` of `/machine/peripheral-anon/device[3]`. */
function deviceId(qdev: string): string {
  const parts = qdev.split('/');
  const at = parts.findIndex((part) => part === 'peripheral' || part === 'peripheral-anon');
  return (at >= 0 ? parts[at + 1] : parts.at(-1)) ?? qdev;
}

/** The drives of a VM, as `query-block` lists them, with their chains. */
export function describeDisks(facts: BlockFacts): Disk[] {
  return facts.blocks.map((block) => describeDisk(block, facts));
}

function describeDisk(block: BlockInfo, facts: BlockFacts): Disk {
  const { inserted, qdev } = block;
  const root = inserted?.['node-name'];
  const { filters, images } = root === undefined ? { filters: [], images: [] } : nodeChain(facts.graph, root);
  const device = facts.devices.get(qdev ?? '');
  const [active] = images;
  return {
    id: diskId(block),
    names: [
      ...new Set([diskId(block), deviceId(qdev ?? ''), qdev ?? '', root ?? '', active?.format.name ?? '']),
    ].filter((name) => name !== ''),
    deviceType: device?.type ?? '',
    ...(root !== undefined && { rootNode: root }),
    filters: filters.map(({ driver }) => driver),
    images: images.map(({ format, file }) => describeImage(format, file, facts)),
    size: inserted?.image['virtual-size'] ?? 0,
    readOnly: inserted?.ro ?? false,
    removable: block.removable,
    shareable: device?.shareable ?? false,
    ...(device?.threaded && { threaded: true }),
    settings: describeSettings(block, active?.format.name, facts),
    // Those without a name are what a job of QEMU's works with.
    bitmaps: (inserted?.['dirty-bitmaps'] ?? []).flatMap(({ name, persistent }) =>
      name === undefined || name === '' ? [] : [{ name, persistent }],
    ),
    writtenBytes: Number(statsOf(block, facts.stats)?.stats.wr_bytes ?? 0),
  };
}

function statsOf({ qdev, device }: BlockInfo, stats: readonly BlockStats[]): BlockStats | undefined {
  return stats.find(
    (entry) => (qdev !== undefined && entry.qdev === qdev) || (device !== '' && entry.device === device),
  );
}

type GraphNode = ReturnType<typeof nodeChain>['images'][number]['format'];

function describeImage(format: GraphNode, file: GraphNode, { absolute }: BlockFacts): ImageNode {
  const path = file.driver === 'file' ? absolute(file.filename) : undefined;
  return {
    node: format.name,
    fileNode: file.name,
    // A device may be attached to a protocol node: its bytes are the disk's.
    format: format === file ? 'raw' : format.driver,
    protocol: file.driver,
    ...(path !== undefined && { path }),
    filename: file.filename,
    readOnly: format.readOnly,
  };
}

function describeSettings(
  { inserted, device, qdev }: BlockInfo,
  node: string | undefined,
  { started }: BlockFacts,
): NodeSettings {
  // A node of ours took another's place in an earlier migration and was given its settings: those that the device was
  // started with. Of a device that was plugged in later nothing is known, and passing on the guest's discards loses nothing.
  const known = started.get(node ?? '') ?? started.get(device) ?? started.get(deviceKey(deviceId(qdev ?? '')));
  return {
    direct: inserted?.cache.direct ?? false,
    detectZeroes: inserted?.detect_zeroes ?? 'off',
    discard: known?.discard ?? 'unmap',
    ...(known?.aio && { aio: known.aio }),
  };
}
