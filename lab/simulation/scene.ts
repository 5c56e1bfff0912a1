import { basename, dirname, join } from 'node:path';
import {
  DEFAULT_REQUEST,
  makePlan,
  type MigrationPlan,
  type MigrationRequest,
  planRefused,
} from '../../src/migration/index.ts';
import type { Disk } from '../../src/vm/index.ts';
import type { Random } from '../torture/random.ts';
import { BLOCKS } from './guest.ts';
import { IDENTITY } from './sim-monitor.ts';
import { DISK_BYTES, probe } from './sim-host.ts';
import { NOTHING, setBacking, SimFiles, sync } from './sim-files.ts';
import { BEHAVIOUR, type Behaviour } from './sim-qemu.ts';
import { TARGET_DEVICE } from './world.ts';

export const SOURCE = '/fast';
export const TARGET = '/big';
const ID = 'k3x9ab';

/** A VM before its migration: its files, how its QEMU behaves and was started, and what is going to be done. */
export interface Scene {
  readonly files: SimFiles;
  readonly behaviour: Behaviour;
  readonly disks: readonly SceneDisk[];
  readonly plan: MigrationPlan;
  /** In words. */
  readonly about: string;
}

export interface SceneDisk {
  readonly id: string;
  readonly path: string;
  /** Node names from the active image down. */
  readonly nodes: readonly string[];
}

/** What there is to choose from. */
export interface Layout {
  /** It is one of libvirt. */
  readonly libvirt: boolean;
  readonly build: '7.2' | '10.0';
  readonly disks: number;
  /** All disks stand on one base. */
  readonly sharedBase: boolean;
  /** Started with `-drive`, so that the nodes are QEMU's own. */
  readonly drive: boolean;
  readonly ioThread: boolean;
  readonly verify: boolean;
  readonly fold: boolean;
  readonly keepSource: boolean;
  readonly leaveLink: boolean;
}

/** @param given what is not left to chance; all is drawn, so that what is drawn afterwards does not depend on it */
export function drawLayout(random: Random, given: Partial<Layout> & Pick<Layout, 'libvirt'>): Layout {
  const build = random.pick<Layout['build']>(['7.2', '10.0']);
  const disks = random.pick([1, 2, 2, 2, 3]);
  const [verify, fold, keepSource] = [random.chance(0.7), random.chance(0.8), random.chance(0.3)];
  // A link to an overlay that is not folded is refused where the image was raw.
  const leaveLink = random.chance(0.3) && fold;
  const sharedBase = random.chance(0.2) && disks > 1;
  const [drive, ioThread] = [random.chance(0.4), random.chance(0.25)];
  return { build, disks, sharedBase, drive, ioThread, verify, fold, keepSource, leaveLink, ...given };
}

/** A VM with this layout; what its disks are like is drawn. */
export function makeScene(layout: Layout, random: Random): Scene {
  const { libvirt, build, verify, fold, keepSource, leaveLink } = layout;
  const devices = { [SOURCE]: '1', [TARGET]: TARGET_DEVICE };
  const files = new SimFiles(new Map(Object.entries(devices)));
  const disks = Array.from({ length: layout.disks }, (_, n) => makeDisk(files, layout, n, random));
  files.syncFolder(SOURCE);
  const plan = planOf(files, disks, libvirt, {
    ...DEFAULT_REQUEST,
    to: TARGET,
    verify,
    fold,
    keepSource,
    // There is no model of the server: the simulated mirrors write to their files.
    mirrorServer: false,
    leaveLink,
    // Storages here stand still for up to 9 s.
    maxHoldMs: 10_000,
  });
  const words = [
    `QEMU ${build}, ${layout.disks} disks of ${libvirt ? 'libvirt' : layout.drive ? '-drive' : '-blockdev'}`,
    ...(layout.sharedBase ? ['a shared base'] : []),
    ...(layout.ioThread ? ['an I/O thread'] : []),
    ...(verify ? [] : ['not verified']),
    ...(fold ? [] : ['not folded']),
    ...(keepSource ? ['source kept'] : []),
    ...(leaveLink ? ['link left'] : []),
  ];
  return { files, behaviour: { ...BEHAVIOUR[build], ioThread: layout.ioThread }, disks, plan, about: words.join(', ') };
}

function makeDisk(files: SimFiles, { libvirt, sharedBase, drive }: Layout, n: number, random: Random): SceneDisk {
  const id = `vd${'abc'[n]}`;
  const depth = sharedBase ? 1 : random.pick([0, 0, 1]);
  const format = depth > 0 ? 'qcow2' : random.pick<'raw' | 'qcow2'>(['raw', 'qcow2']);
  const path = join(SOURCE, `${id}.${format}`);
  const base = join(SOURCE, sharedBase ? 'base.raw' : `${id}-base.raw`);
  if (depth > 0 && !files.lookup(base)) sync(files.make(base, 'raw', initial()));
  const blocks = initial().map((value) => (depth > 0 && random.chance(0.5) ? NOTHING : value));
  const active = files.make(path, format, blocks);
  if (depth > 0) setBacking(active, { name: basename(base), format: 'raw' });
  sync(active);
  const names = [`node-${id}`, `base-${id}`].slice(0, depth + 1);
  return { id, path, nodes: drive && !libvirt ? names.map((name) => `#${name}`) : names };
}

function initial(): number[] {
  return Array.from({ length: BLOCKS }, () => 0);
}

/** The plan that the engine makes of this. */
function planOf(
  files: SimFiles,
  disks: readonly SceneDisk[],
  libvirt: boolean,
  request: MigrationRequest,
): MigrationPlan {
  const surveyed = disks.map(({ id, path, nodes }) => {
    const chain = probe(files, path);
    const disk: Disk = {
      id,
      names: [id],
      deviceType: 'virtio-blk-device',
      rootNode: libvirt ? path : (nodes[0] ?? ''),
      filters: [],
      images: chain.map((image, level) => ({
        node: libvirt ? image.path : (nodes[level] ?? ''),
        fileNode: libvirt ? image.path : `#file-${id}-${level}`,
        format: image.format,
        protocol: 'file',
        path: image.path,
        filename: image.path,
        readOnly: level > 0,
      })),
      size: DISK_BYTES,
      readOnly: false,
      removable: false,
      shareable: false,
      bitmaps: [],
      writtenBytes: 0,
      settings: { direct: true, detectZeroes: 'off', discard: 'unmap' },
    };
    return { disk, folder: TARGET, chain, refusals: [] };
  });
  const { plan, refusals } = makePlan({
    id: ID,
    request,
    disks: surveyed,
    unknown: [],
    otherUse: new Map(),
    writeRate: new Map(),
    inventory: {
      identity: IDENTITY,
      ...(libvirt && { naming: 'files' as const }),
      status: 'running',
      version: '7.2.0',
      jobs: [],
      nodes: [],
      sharedNodes: [],
      disks: surveyed.map(({ disk }) => disk),
    },
    folders: new Map([SOURCE, TARGET].map((path) => [path, { path, names: new Set<string>() }])),
    storages: new Map([...files.devices].map(([folder, device]) => [folder, { device, free: 2 ** 40 }])),
  });
  if (plan === undefined) throw planRefused(IDENTITY.name, refusals);
  return plan;
}

/** Everything below a folder. */
export function inFolder(files: SimFiles, folder: string): readonly string[] {
  return files
    .names()
    .filter((path) => dirname(path) === folder)
    .toSorted();
}
