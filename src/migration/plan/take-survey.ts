import { access, constants, readdir, realpath, stat } from 'node:fs/promises';
import { dirname } from 'node:path';
import {
  type Clock,
  errnoOf,
  type FerryError,
  ferryError,
  isFerryError,
  messageOf,
  systemClock,
} from '../../base/index.ts';
import { type Chain, chainRefusals, otherUsersOf, probeChain, storageSpace } from '../../image/index.ts';
import type { Disk, Inventory, VirtualMachine } from '../../vm/index.ts';
import { chooseDisks, leftBecause } from './choose-disks.ts';
import { migrationId } from './migration-id.ts';
import type { MigrationRequest } from './request.ts';
import type { OtherUse, SourceSurvey, Survey, SurveyedDisk, SurveyedFolder, SurveyedStorage } from './survey.ts';

/** Over how long the guest's write rate is measured, in milliseconds. */
const WRITE_RATE_OVER_MS = 1000;

/**
 * Finds out everything that the plan is made from. Touches nothing: images are read, folders listed, and QEMU is asked
 * whether it could open a name that does not exist.
 */
export async function takeSurvey(
  vm: VirtualMachine,
  request: MigrationRequest,
  clock: Clock = systemClock,
): Promise<Survey> {
  const began = clock.monotonic();
  const { inventory: before, disks, unknown, folders } = await surveySource(vm, request);
  const storages = await surveyStorages(disks, folders);
  const otherUse = await surveyOtherUse(before, disks);
  await clock.sleep(Math.max(0, WRITE_RATE_OVER_MS - (clock.monotonic() - began)));
  const inventory = await vm.inventory();
  const seconds = (clock.monotonic() - began) / 1000;
  const writeRate = new Map(
    inventory.disks.map(({ id, writtenBytes }) => {
      const earlier = before.disks.find((disk) => disk.id === id)?.writtenBytes ?? writtenBytes;
      return [id, Math.max(0, writtenBytes - earlier) / seconds] as const;
    }),
  );
  return { id: migrationId(), request, inventory, disks, unknown, folders, storages, otherUse, writeRate };
}

/** The part that has to do with the VM and its disks as they are, and with the folders that are asked for. */
export async function surveySource(
  vm: VirtualMachine,
  request: MigrationRequest,
): Promise<SourceSurvey & Pick<Survey, 'folders'>> {
  const inventory = await vm.inventory();
  const { chosen, unknown } = chooseDisks(inventory.disks, request);
  const folders = new Map<string, SurveyedFolder>();
  const disks: SurveyedDisk[] = [];
  const open = await vm.openFiles();
  for (const { disk, folder } of chosen) {
    const target = folder === undefined ? undefined : await surveyFolder(vm, folder);
    if (target) folders.set(target.path, target);
    disks.push({ disk, ...(target && { folder: target.path }), ...(await surveyChain(disk, open)) });
  }
  return { request, inventory, disks, unknown, folders };
}

async function surveyFolder(vm: VirtualMachine, folder: string): Promise<SurveyedFolder> {
  let path = folder;
  const nothing = { names: new Set<string>() };
  try {
    path = await realpath(folder);
    if (!(await stat(path)).isDirectory()) return { path, problem: 'not-a-folder', ...nothing };
    await access(path, constants.W_OK | constants.X_OK);
    const names = new Set(await readdir(path));
    const cannotOpen = await vm.cannotOpen(path);
    return { path, names, ...(cannotOpen !== undefined && { cannotOpen }) };
  } catch (error) {
    const errno = errnoOf(error);
    if (errno === 'ENOENT' || errno === 'ENOTDIR') return { path, problem: 'missing', ...nothing };
    if (errno === 'EACCES' || errno === 'EROFS' || errno === 'EPERM')
      return { path, problem: 'not-writable', ...nothing };
    throw error;
  }
}

type OpenFiles = Awaited<ReturnType<VirtualMachine['openFiles']>>;

/** Reads a disk's chain from storage, and holds it against what the VM says that it has open. */
async function surveyChain(disk: Disk, open: OpenFiles): Promise<{ chain: Chain; refusals: FerryError[] }> {
  const [active] = disk.images;
  // What the plan refuses or leaves alone anyhow need not be read.
  if (active?.path === undefined || leftBecause(disk) !== undefined) return { chain: [], refusals: [] };
  if (disk.images.some(({ path }) => path === undefined)) return { chain: [], refusals: [] };
  // What the VM does not have open is not for us to open, whatever a header says.
  const within = await Promise.all(disk.images.map(async ({ path = '' }) => await realpath(path).catch(() => path)));
  try {
    const formats = disk.images.map(({ format }) => format);
    const chain = await probeChain(active.path, { format: active.format, formats, shared: true, within });
    const refusals = [...chainRefusals(chain), ...(await differences(disk, chain)), ...strangers(disk, chain, open)];
    return { chain: refusals.length > 0 ? [] : chain, refusals };
  } catch (error) {
    if (isFerryError(error, 'IMAGE_MISSING')) {
      return {
        chain: [],
        refusals: [
          ferryError('DISK_FILE_NOT_FOUND', { disk: disk.id, image: active.filename, reason: messageOf(error) }),
        ],
      };
    }
    if (isFerryError(error, 'BACKING_ELSEWHERE')) {
      const { path, name } = error.fields;
      const running = disk.images[within.indexOf(await realpath(String(path))) + 1]?.path ?? 'nothing';
      const differs = ferryError('DISK_CHAIN_DIFFERS', { disk: disk.id, running, stored: String(name) });
      return { chain: [], refusals: [differs] };
    }
    if (isFerryError(error)) return { chain: [], refusals: [error] };
    throw error;
  }
}

/** Where the VM was started with other images than the headers name: then the copy would not be what the VM reads. */
async function differences({ id, images }: Disk, chain: Chain): Promise<FerryError[]> {
  for (let level = 0; level < Math.max(images.length, chain.length); level++) {
    const running = images[level]?.path;
    const stored = chain[level]?.realPath;
    const same =
      running !== undefined && stored !== undefined && (await realpath(running).catch(() => running)) === stored;
    if (!same) {
      return [
        ferryError('DISK_CHAIN_DIFFERS', { disk: id, running: running ?? 'nothing', stored: stored ?? 'nothing' }),
      ];
    }
  }
  return [];
}

/** A file of the right name may be another than QEMU has open: in another mount namespace, or replaced meanwhile. */
function strangers({ id }: Disk, chain: Chain, open: OpenFiles): FerryError[] {
  if (open === undefined) return [];
  const known = new Set(open.map(({ dev, ino }) => `${dev}:${ino}`));
  return chain
    .filter(({ dev, ino }) => !known.has(`${dev}:${ino}`))
    .map(({ path }) => {
      const reason = "the VM's QEMU does not have the file of that name open (another mount namespace, or replaced?)";
      return ferryError('DISK_FILE_NOT_FOUND', { disk: id, image: path, reason });
    });
}

async function surveyStorages(
  disks: readonly SurveyedDisk[],
  folders: ReadonlyMap<string, SurveyedFolder>,
): Promise<Map<string, SurveyedStorage>> {
  const usable = [...folders.values()].filter(({ problem }) => problem === undefined).map(({ path }) => path);
  const sources = disks.flatMap(({ chain }) => chain.slice(0, 1).map(({ realPath }) => dirname(realPath)));
  const storages = new Map<string, SurveyedStorage>();
  for (const folder of new Set([...usable, ...sources])) storages.set(folder, await storageSpace(folder));
  return storages;
}

/** Who else stands on the backing images of the disks that move. */
async function surveyOtherUse(inventory: Inventory, disks: readonly SurveyedDisk[]): Promise<Map<string, OtherUse>> {
  const moving = new Set(disks.map(({ disk }) => disk.id));
  const staying = inventory.disks.filter(({ id }) => !moving.has(id));
  const moved = new Set(disks.flatMap(({ chain }) => chain.map(({ realPath }) => realPath)));
  const uses = new Map<string, OtherUse>();
  for (const image of disks.flatMap(({ chain }) => chain.slice(1))) {
    if (uses.has(image.realPath)) continue;
    const beside = staying.filter(({ images }) =>
      images.some(({ path }) => path === image.path || path === image.realPath),
    );
    const others = await otherUsersOf(image, { exceptPids: [inventory.identity.pid], exceptImages: [...moved] });
    const reasons = beside.map(({ id }) => `disk ${id}, which stays, stands on it`);
    uses.set(image.realPath, { reasons: [...reasons, ...inWords(others)] });
  }
  return uses;
}

function inWords(others: Awaited<ReturnType<typeof otherUsersOf>>): string[] {
  const reasons = [
    ...others.overlays.map((path) => `the image ${path} stands on it`),
    ...others.processes.map(({ pid, program }) => `the process ${pid} (${program}) has it open`),
    ...others.loopDevices.map((device) => `the loop device ${device} has it open`),
  ];
  if (others.extraLinks > 0) reasons.push('it has further hard links');
  // What cannot be known is taken as a use: a base that stays costs space, one that goes too early costs a VM.
  if (!others.overlaysComplete) reasons.push('not every image in its folder could be looked at');
  if (!others.processesComplete) reasons.push('this user may not see which processes have it open');
  return reasons;
}
