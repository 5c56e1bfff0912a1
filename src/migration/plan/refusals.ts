import { basename, dirname, join, sep } from 'node:path';
import { type FerryError, ferryError } from '../../base/index.ts';
import { chooseDisks, leftBecause } from './choose-disks.ts';
import type { SourceSurvey, Survey, SurveyedDisk } from './survey.ts';

/** Every reason to refuse, found before anything is touched; empty when there is none. Space is the plan's. */
export function refusals(survey: Survey): FerryError[] {
  const found = vmRefusals(survey);
  for (const disk of survey.disks) found.push(...diskRefusals(disk, survey), ...targetRefusals(survey, disk));
  found.push(...nameRefusals(survey));
  return unique(found);
}

/** Those that have to do with the VM and its disks as they are, wherever these are to go. */
export function sourceRefusals(survey: SourceSurvey): FerryError[] {
  return unique([...vmRefusals(survey), ...survey.disks.flatMap((disk) => diskRefusals(disk, survey))]);
}

function vmRefusals(survey: SourceSurvey): FerryError[] {
  const { inventory, disks } = survey;
  const vm = inventory.identity.name;
  const found: FerryError[] = survey.unknown.map((disk) =>
    ferryError('NO_SUCH_DISK', { vm, disk, disks: inventory.disks.map(({ id }) => id).join(', ') || 'none' }),
  );
  if (inventory.liveMigration !== undefined) {
    found.push(ferryError('VM_IS_MIGRATING', { vm, status: inventory.liveMigration }));
  }
  if (inventory.jobs.length > 0) {
    const jobs = inventory.jobs.map(({ id, type, status }) => `${id} (${type}, ${status})`).join(', ');
    found.push(ferryError('VM_HAS_JOB', { vm, jobs }));
  }
  if (inventory.obstacles !== undefined) {
    found.push(ferryError('VM_HAS_OBSTACLES', { vm, what: inventory.obstacles.join('; ') }));
  }
  if (disks.length === 0 && survey.unknown.length === 0) {
    const { left } = chooseDisks(inventory.disks, survey.request);
    const reasons = left.map(({ disk, reason }) => `${disk}: ${reason}`).join('; ');
    found.push(ferryError('NO_DISK_TO_MOVE', { vm, reasons: reasons || 'it has no drives' }));
  }
  return found;
}

function diskRefusals({ disk, refusals, chain }: SurveyedDisk, { request, inventory }: SourceSurvey): FerryError[] {
  const { fold, leaveLink } = request;
  const stays = leftBecause(disk);
  if (stays !== undefined) return [ferryError('DISK_STAYS', { disk: disk.id, reason: stays })];
  const found: FerryError[] = [];
  if (disk.shareable) found.push(ferryError('DISK_SHAREABLE', { disk: disk.id }));
  // A block job puts a filter of its own above the disk, and is a reason of its own.
  if (disk.filters.length > 0 && inventory.jobs.length === 0) {
    found.push(ferryError('DISK_FILTER', { disk: disk.id, filters: disk.filters.join(', ') }));
  }
  // A persistent bitmap is in the image's file, so it is copied, and the fold marks in it all that it writes: it ends as
  // a superset of the guest's writes, as a backup needs it. Without the fold it would miss them.
  const lost = disk.bitmaps.filter(({ persistent }) => !persistent || !fold);
  if (lost.length > 0) {
    const bitmaps = lost.map(({ name }) => name).join(', ');
    found.push(ferryError('DISK_BITMAPS', { disk: disk.id, bitmaps }));
  }
  for (const { path, filename, protocol } of disk.images) {
    if (path === undefined) found.push(ferryError('DISK_NOT_A_FILE', { disk: disk.id, image: filename, protocol }));
  }
  const [active] = chain;
  if (leaveLink && !fold && active?.format === 'raw') {
    found.push(ferryError('LINK_FORMAT', { disk: disk.id, image: active.path }));
  }
  return [...found, ...refusals];
}

function targetRefusals(survey: Survey, { disk, folder, chain }: SurveyedDisk): FerryError[] {
  if (folder === undefined) return [ferryError('NO_TARGET', { disk: disk.id })];
  const target = survey.folders.get(folder);
  if (target === undefined || target.problem !== undefined) {
    const reason = {
      missing: 'there is no such folder',
      'not-a-folder': 'it is not a folder',
      'not-writable': 'this user may not write to it',
    }[target?.problem ?? 'missing'];
    return [ferryError('TARGET_FOLDER', { folder, reason })];
  }
  const found: FerryError[] = [];
  if (target.cannotOpen !== undefined) {
    found.push(ferryError('TARGET_NOT_OPENABLE', { folder, reason: target.cannotOpen }));
  }
  const source = chain[0] && dirname(chain[0].realPath);
  if (source !== undefined && isWithin(folder, source)) {
    found.push(ferryError('TARGET_INSIDE_SOURCE', { folder, source, disk: disk.id }));
  }
  return found;
}

function isWithin(path: string, folder: string): boolean {
  return path === folder || path.startsWith(folder.endsWith(sep) ? folder : folder + sep);
}

/** Names on the target that are taken, by files or by each other. */
function nameRefusals({ disks, folders }: Survey): FerryError[] {
  const found: FerryError[] = [];
  const sources = new Map<string, string>();
  for (const { folder, chain } of disks) {
    if (folder === undefined) continue;
    for (const image of chain) {
      const path = join(folder, basename(image.path));
      const first = sources.get(path);
      if (first === undefined && folders.get(folder)?.names.has(basename(path))) {
        found.push(ferryError('TARGET_NAME_TAKEN', { path }));
      } else if (first !== undefined && first !== image.realPath) {
        found.push(ferryError('TARGET_NAME_CLASH', { path, first, second: image.realPath }));
      }
      sources.set(path, image.realPath);
    }
  }
  return found;
}

function unique(errors: readonly FerryError[]): FerryError[] {
  return [...new Map(errors.map((error) => [error.message, error])).values()];
}

/** The one error that a refused plan ends with, or a refused snapshot; its details hold every reason. */
export function planRefused(
  vm: string,
  reasons: readonly FerryError[],
  code: 'PLAN_REFUSED' | 'SNAPSHOT_REFUSED' = 'PLAN_REFUSED',
): FerryError {
  const text = reasons.map(({ message }) => message).join('; ');
  return ferryError(code, { vm, reasons: text }, { details: { refusals: reasons.map((reason) => reason.toJSON()) } });
}
