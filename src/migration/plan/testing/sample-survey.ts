import { basename, dirname } from 'node:path';
import type { Chain, ImageInfo } from '../../../image/index.ts';
import type { Disk, Inventory } from '../../../vm/index.ts';
import { DEFAULT_REQUEST } from '../request.ts';
import type { Survey, SurveyedDisk } from '../survey.ts';

const MiB = 2 ** 20;

let inodes = 0;
const known = new Map<string, string>();
/** The same file has the same number. */
function inodeOf(path: string): string {
  const ino = known.get(path) ?? String((inodes += 1));
  known.set(path, ino);
  return ino;
}

/** One image, as a look at it tells; its backing image is the next one of `sampleChain`. */
export function sampleImage(path: string, more: Partial<ImageInfo> = {}): ImageInfo {
  return {
    path,
    realPath: path,
    format: path.endsWith('.raw') ? 'raw' : 'qcow2',
    formatStated: true,
    blockDevice: false,
    virtualSize: 64 * MiB,
    fileSize: 32 * MiB,
    allocated: 16 * MiB,
    encrypted: false,
    bitmaps: [],
    snapshotCount: 0,
    corrupt: false,
    dirty: false,
    owner: { uid: 64055, gid: 108, mode: 0o600 },
    dev: '1',
    ino: inodeOf(path),
    nlink: 1,
    ...more,
  };
}

/** A chain of these files, active image first. */
export function sampleChain(...paths: readonly string[]): Chain {
  return paths.map((path, level) => {
    const below = paths[level + 1];
    if (below === undefined) return sampleImage(path);
    return sampleImage(path, { backing: { written: basename(below), path: below, format: 'raw' } });
  });
}

/** A disk that the VM has open, on this chain. */
export function sampleDisk(id: string, chain: Chain, more: Partial<Disk> = {}): Disk {
  return {
    id,
    names: [id, `node-${id}`],
    deviceType: 'virtio-blk-device',
    rootNode: `node-${id}`,
    filters: [],
    images: chain.map(({ path, format }, level) => ({
      node: level === 0 ? `node-${id}` : `#block${id}${level}`,
      fileNode: `#file${id}${level}`,
      format,
      protocol: 'file',
      path,
      filename: path,
      readOnly: level > 0,
    })),
    size: 64 * MiB,
    readOnly: false,
    removable: false,
    shareable: false,
    settings: { direct: true, detectZeroes: 'off', discard: 'unmap' },
    bitmaps: [],
    writtenBytes: 0,
    ...more,
  };
}

const folderNames = ['/fast', '/big'];

/** A survey of a VM with these disks, all of which are to go to `/big`. */
export function sampleSurvey(disks: readonly SurveyedDisk[], more: Partial<Survey> = {}): Survey {
  const folders = new Set([...folderNames, ...disks.flatMap(({ folder }) => folder ?? [])]);
  const sources = disks.flatMap(({ chain }) => chain.map(({ realPath }) => dirname(realPath)));
  return {
    id: 'k3x9ab',
    request: { ...DEFAULT_REQUEST, to: '/big' },
    inventory: sampleInventory(disks.map(({ disk }) => disk)),
    disks,
    unknown: [],
    folders: new Map([...folders].map((path) => [path, { path, names: new Set<string>() }])),
    storages: new Map([...folders, ...sources].map((path) => [path, { device: path, free: 2 ** 40 }])),
    otherUse: new Map(),
    writeRate: new Map(),
    ...more,
  };
}

export function sampleInventory(disks: readonly Disk[], more: Partial<Inventory> = {}): Inventory {
  return {
    identity: { name: 'web', uuid: '', host: 'here', process: 'boot/7/8', pid: 7, address: '/run/web.sock' },
    status: 'running',
    version: '7.2.0',
    disks,
    jobs: [],
    nodes: [],
    sharedNodes: [],
    ...more,
  };
}

/** A disk that goes to `/big`. */
export function surveyed(id: string, paths: readonly string[], more: Partial<SurveyedDisk> = {}): SurveyedDisk {
  const chain = sampleChain(...paths);
  return { disk: sampleDisk(id, chain), folder: '/big', chain, refusals: [], ...more };
}
