import { basename, dirname, join } from 'node:path';
import { type FerryError, ferryError, formatSize } from '../../base/index.ts';
import type { ImageInfo } from '../../image/index.ts';
import { formatJobName } from '../../vm/index.ts';
import { chooseDisks } from './choose-disks.ts';
import type { MigrationPlan, PlannedCopy, PlannedDisk, PlannedStorage, SourceFile } from './plan.ts';
import { refusals } from './refusals.ts';
import type { Survey, SurveyedDisk } from './survey.ts';
import { targetBacking } from './target-backing.ts';

/** Bytes per second that a copy is taken to reach where no limit is given. A guess for the estimate, never a limit. */
const ASSUMED_COPY_RATE = 100 * 2 ** 20;
/**
 * What the swap itself takes. Over QMP measured at 6-22 ms for one disk and 37-72 ms for 16.
 */
const HOLD_MS = { nodes: { first: 8, further: 4 }, files: { first: 60, further: 25 } } as const;
/** What is asked for beyond the estimate: some share of it, and never less than this. */
const MARGIN = { share: 0.05, atLeast: 16 * 2 ** 20 } as const;

export type PlanResult =
  | { readonly plan: MigrationPlan; readonly refusals: readonly [] }
  | { readonly plan?: undefined; readonly refusals: readonly FerryError[] };

/**
 * Decides what a migration will do, or why it is refused. Pure: the same survey gives the same plan, so a dry run and
 * the migration itself cannot differ.
 */
export function makePlan(survey: Survey): PlanResult {
  const impossible = refusals(survey);
  if (impossible.length > 0) return { refusals: impossible };
  const { request, inventory, id } = survey;
  const copies = planCopies(survey);
  const disks = survey.disks.map((surveyed, index) => planDisk(survey, surveyed, index));
  const copyBytes = copies.reduce((sum, copy) => sum + copy.allocated, 0);
  const writeRate = survey.disks.reduce((sum, { disk }) => sum + (survey.writeRate.get(disk.id) ?? 0), 0);
  const rate = request.bandwidth > 0 ? request.bandwidth : ASSUMED_COPY_RATE;
  const seconds = 3 + (copyBytes * (request.verify ? 2 : 1)) / rate;
  const storages = planStorages(survey, copies, seconds);
  const hold = HOLD_MS[inventory.naming ?? 'nodes'];
  const plan: MigrationPlan = {
    version: 1,
    id,
    vm: inventory.identity,
    request,
    disks,
    copies,
    sourceFiles: planSourceFiles(survey, disks, copies),
    ...(inventory.naming === 'files' && { suspendedSwap: true }),
    left: chooseDisks(inventory.disks, request).left,
    storages,
    notes: planNotes(survey),
    estimate: { copyBytes, writeRate, seconds, holdMs: hold.first + hold.further * (disks.length - 1) },
  };
  const tooLittle = spaceRefusals(storages);
  return tooLittle.length > 0 ? { refusals: tooLittle } : { plan, refusals: [] };
}

/** The name of an image on the target: what the VM calls it now. */
function targetOf(folder: string, image: ImageInfo): string {
  return join(folder, basename(image.path));
}

function planDisk(survey: Survey, { disk, folder, chain }: SurveyedDisk, index: number): PlannedDisk {
  const { id } = survey;
  const [active] = chain;
  const [image] = disk.images;
  if (active === undefined || image === undefined || folder === undefined)
    throw new Error('refused disks have no plan');
  const overlay = `blockferry-${id}-${index}.overlay.qcow2`;
  const files = {
    target: targetOf(folder, active),
    sourceOverlay: join(dirname(active.realPath), overlay),
    targetOverlay: join(folder, overlay),
  };
  return {
    id: disk.id,
    size: disk.size,
    folder,
    active: { node: image.node, path: active.path, realPath: active.realPath, format: formatOf(active) },
    depth: chain.length - 1,
    ...files,
    owner: active.owner,
    settings: disk.settings,
    ...(survey.inventory.naming === 'files' ? fileNames(disk.id, active.path, files) : nodeNames(id, index)),
    oldNodes: disk.images.flatMap(({ node, fileNode }) => [node, fileNode]).filter((node) => !node.startsWith('#')),
  };
}

type Names = Pick<PlannedDisk, 'nodes' | 'jobs'>;

/** Node and job names have at most 31 characters in QEMU. */
function nodeNames(id: string, index: number): Names {
  const name = (role: string): string => `bf-${id}-${role}${index}`;
  return {
    nodes: {
      source: name('src'),
      sourceFile: name('srcfile'),
      mirror: name('dst'),
      mirrorFile: name('dstfile'),
      base: name('base'),
    },
    jobs: { mirror: name('mirror'), fold: name('fold'), foldBack: name('back') },
  };
}

/** Where nodes are named by their files, and jobs by what they do to a disk. */
export function fileNames(
  disk: string,
  active: string,
  { target, sourceOverlay, targetOverlay }: Pick<PlannedDisk, 'target' | 'sourceOverlay' | 'targetOverlay'>,
): Names {
  return {
    nodes: {
      source: sourceOverlay,
      sourceFile: sourceOverlay,
      mirror: targetOverlay,
      mirrorFile: targetOverlay,
      base: target,
    },
    jobs: {
      mirror: formatJobName({ kind: 'copy', disk, from: sourceOverlay, to: targetOverlay }),
      fold: formatJobName({ kind: 'commit', disk, from: targetOverlay, to: target }),
      foldBack: formatJobName({ kind: 'commit', disk, from: sourceOverlay, to: active }),
    },
  };
}

function formatOf(image: ImageInfo): 'raw' | 'qcow2' {
  return image.format === 'qcow2' ? 'qcow2' : 'raw';
}

/** Every image once for each folder that it goes to, bases first, so that a chain can be opened as soon as it is whole. */
function planCopies(survey: Survey): PlannedCopy[] {
  const byTarget = new Map<string, PlannedCopy & { readonly disks: string[] }>();
  const depth = new Map<string, number>();
  for (const { disk, folder, chain } of survey.disks) {
    if (folder === undefined) continue;
    for (const [level, image] of chain.entries()) {
      const target = targetOf(folder, image);
      depth.set(target, Math.max(depth.get(target) ?? 0, level));
      const known = byTarget.get(target);
      if (known) {
        known.disks.push(disk.id);
        continue;
      }
      const below = chain[level + 1];
      byTarget.set(target, {
        source: image.realPath,
        target,
        format: formatOf(image),
        allocated: image.allocated,
        fileSize: image.fileSize,
        owner: image.owner,
        ...(below && {
          backing: { name: targetBacking(survey.request, target, targetOf(folder, below)), format: formatOf(below) },
        }),
        disks: [disk.id],
      });
    }
  }
  return [...byTarget.values()].toSorted((a, b) => (depth.get(b.target) ?? 0) - (depth.get(a.target) ?? 0));
}

/** What each storage must have free: the copies, and twice what the guest writes meanwhile (overlay, then fold). */
function planStorages(survey: Survey, copies: readonly PlannedCopy[], seconds: number): PlannedStorage[] {
  const needed = new Map<string, { folder: string; roles: Set<'source' | 'target'>; bytes: number }>();
  const add = (folder: string, role: 'source' | 'target', bytes: number): void => {
    const device = survey.storages.get(folder)?.device ?? folder;
    const entry = needed.get(device) ?? { folder, roles: new Set(), bytes: 0 };
    entry.roles.add(role);
    entry.bytes += bytes;
    needed.set(device, entry);
  };
  for (const copy of copies) add(dirname(copy.target), 'target', copy.allocated);
  for (const { disk, folder, chain } of survey.disks) {
    const growth = Math.min(disk.size, (survey.writeRate.get(disk.id) ?? 0) * seconds);
    if (folder !== undefined) add(folder, 'target', growth * 2);
    const [active] = chain;
    if (active) add(dirname(active.realPath), 'source', growth * 2);
  }
  return [...needed].map(([device, { folder, roles, bytes }]) => {
    const margin = Math.max(MARGIN.atLeast, bytes * MARGIN.share);
    return {
      folder,
      device,
      role: roles.size === 2 ? 'both' : roles.has('source') ? 'source' : 'target',
      free: survey.storages.get(folder)?.free ?? 0,
      needed: Math.ceil(bytes + margin),
      reserve: Math.ceil(margin / 2),
    };
  });
}

function spaceRefusals(storages: readonly PlannedStorage[]): FerryError[] {
  return storages
    .filter(({ free, needed }) => free < needed)
    .map(({ folder, free, needed }) =>
      ferryError('SPACE_TOO_LITTLE', { folder, needed: formatSize(needed), free: formatSize(free) }),
    );
}

/**
 * What becomes of the source's files. The active images are this VM's alone. A backing image may be a template that
 * other VMs stand on, so it goes only when it lies beside the active image and no other user was found.
 */
function planSourceFiles(survey: Survey, disks: readonly PlannedDisk[], copies: readonly PlannedCopy[]): SourceFile[] {
  const files = new Map<string, SourceFile>();
  const { keepSource, leaveLink, fold } = survey.request;
  for (const [index, { chain }] of survey.disks.entries()) {
    const planned = disks[index];
    const [active] = chain;
    if (planned === undefined || active === undefined) continue;
    for (const image of chain) {
      if (files.has(image.realPath)) continue;
      const isActive = image === active;
      const copy = copies.find(({ source }) => source === image.realPath);
      const moved = isActive && !fold ? planned.targetOverlay : copy?.target;
      const reason = isActive ? undefined : keptBecause(survey, image, active);
      files.set(image.realPath, {
        path: image.path,
        realPath: image.realPath,
        dev: image.dev,
        ino: image.ino,
        ...sourceAction(
          survey,
          image,
          isActive,
          reason ?? (keepSource && !isActive ? 'the source is kept' : undefined),
        ),
        ...(leaveLink && isActive && moved !== undefined ? { link: moved } : {}),
      });
    }
  }
  return [...files.values()];
}

function sourceAction(
  survey: Survey,
  image: ImageInfo,
  isActive: boolean,
  reason: string | undefined,
): Pick<SourceFile, 'action' | 'reason' | 'renameTo'> {
  if (reason !== undefined) return { action: 'keep', reason };
  if (survey.request.keepSource && isActive) {
    return { action: 'rename', renameTo: movedName(image.realPath, survey.id) };
  }
  return { action: 'remove' };
}

/** A name has at most 255 bytes on Linux's file systems; it would be found out after the swap. */
function movedName(path: string, id: string): string {
  const suffix = `.moved-${id}`;
  let name = basename(path);
  while (Buffer.byteLength(name + suffix) > 255) name = name.replace(/.$/su, '');
  return join(dirname(path), name + suffix);
}

function keptBecause(survey: Survey, image: ImageInfo, active: ImageInfo): string | undefined {
  const [other] = survey.otherUse.get(image.realPath)?.reasons ?? [];
  if (other !== undefined) return other;
  if (dirname(image.realPath) !== dirname(active.realPath)) {
    return 'it lies in another folder than the active image, so other VMs may stand on it';
  }
  return undefined;
}

function planNotes({ inventory, request, disks }: Survey): string[] {
  const notes: string[] = [];
  if (inventory.status !== 'running')
    notes.push(`the VM is not running now (${inventory.status}); its disks move all the same`);
  if (!request.fold) {
    notes.push(
      'the overlay is not folded: each chain will be one image deeper, and the VM must be started from the overlay',
    );
  }
  if (request.slowGuest && inventory.naming !== 'files') {
    notes.push('the guest cannot be slowed down over QMP: --slow-guest is for VMs of libvirt, and does nothing here');
  }
  if (!request.verify) notes.push('the copies are not read back and compared');
  if (!request.leaveLink && inventory.naming !== 'files') {
    const [first] = disks.flatMap(({ chain }) => chain.slice(0, 1));
    if (first) notes.push(`the VM's own start command still names ${first.path}: change it, or use --leave-link`);
  }
  const stalling = losesInterrupts(inventory.version)
    ? disks.filter(({ disk }) => disk.threaded).map(({ disk }) => disk.id)
    : [];
  if (stalling.length > 0) {
    notes.push(
      `${stalling.join(', ')}: on an I/O thread, where QEMU ${inventory.version} may lose an interrupt when the VM is stopped for a moment, ` +
        'as it is here; such a disk then stands still in the guest until a reboot (no data is lost). It is rare; event_idx=off on the ' +
        'device, from its next start on, makes it harmless',
    );
  }
  return notes;
}

/**
 * QEMU tells a guest of what an I/O thread has done at the end of a batch since 8.2 (`defer_call` in `virtio_notify_irqfd`), and
 * `stop` may take the way to the guest away before that. Measured on 10.0.2; never seen on 7.2. No version is known to be mended.
 */
function losesInterrupts(version: string): boolean {
  const [major = 0, minor = 0] = version.split('.').map(Number);
  return major > 8 || (major === 8 && minor >= 2);
}
