import { formatDuration, formatRate, formatSize } from '../../base/index.ts';
import type { MigrationPlan, PlannedDisk } from '../../migration/index.ts';
import { table, tableWidth } from './table.ts';
import { count, type Paint, printable } from './text.ts';

const COLUMNS = [
  { title: 'DISK' },
  { title: 'SIZE', align: 'right' },
  { title: 'TO COPY', align: 'right' },
  { title: 'IMAGES', align: 'right' },
  { title: 'FROM' },
  { title: 'TO' },
] as const;

/**
 * The plan for a person: what moves, from where, to where, how much and how long, what stays and why. Paths are never
 * cut: where the table is wider than the terminal, each disk has lines of its own.
 */
export function planView(plan: MigrationPlan, width: number, paint: Paint): string[] {
  const { vm, estimate } = plan;
  const rows = plan.disks.map((disk) => row(plan, disk));
  const pid = vm.pid > 0 ? ` (pid ${vm.pid})` : '';
  const hold = `guest I/O will be held about ${formatDuration(estimate.holdMs).replace(/\.\d/, '')} at the swap`;
  return [
    `${paint('bold', printable(vm.name))}${pid}: ${count(plan.disks.length, 'disk')} to move`,
    '',
    ...(tableWidth(COLUMNS, rows) <= width ? table(COLUMNS, rows, width, paint) : stacked(plan, paint)),
    '',
    `${count(plan.copies.length, 'image')} with ${formatSize(estimate.copyBytes)} to copy, in about ${formatDuration(estimate.seconds * 1000)}${limit(plan)}; ${hold}`,
    `the guest writes ${formatRate(estimate.writeRate)} now`,
    ...shared(plan).map(printable),
    ...plan.left.map(({ disk, reason }) => printable(`left alone: ${disk}: ${reason}`)),
    ...plan.storages.map(({ folder, needed, free }) =>
      printable(`space: ${folder} needs ${formatSize(needed)} at most, has ${formatSize(free)} free`),
    ),
    ...sources(plan).map(printable),
    ...plan.notes.map((note) => paint('yellow', printable(`note: ${note}`))),
  ];
}

function limit({ request: { bandwidth } }: MigrationPlan): string {
  return bandwidth > 0 ? ` at ${formatRate(bandwidth)}` : '';
}

function toCopy({ copies }: MigrationPlan, { id }: PlannedDisk): number {
  return copies.filter(({ disks }) => disks.includes(id)).reduce((sum, { allocated }) => sum + allocated, 0);
}

function row(plan: MigrationPlan, disk: PlannedDisk): string[] {
  const images = String(disk.depth + 1);
  return [disk.id, formatSize(disk.size), formatSize(toCopy(plan, disk)), images, disk.active.path, disk.target];
}

function stacked(plan: MigrationPlan, paint: Paint): string[] {
  return plan.disks.flatMap((disk) => [
    `${paint('bold', printable(disk.id))}: ${formatSize(disk.size)}, ${formatSize(toCopy(plan, disk))} to copy, ${count(disk.depth + 1, 'image')}`,
    printable(`  from ${disk.active.path}`),
    printable(`  to   ${disk.target}`),
  ]);
}

function shared({ copies }: MigrationPlan): string[] {
  return copies
    .filter(({ disks }) => disks.length > 1)
    .map(({ source, disks }) => `copied once: ${source}, which ${disks.join(' and ')} stand on`);
}

/** What becomes of the source's files. */
function sources({ sourceFiles }: MigrationPlan): string[] {
  return sourceFiles.map(({ path, action, renameTo, reason, link }) => {
    const becomes = {
      remove: 'is removed after the swap',
      rename: `is renamed to ${renameTo ?? ''} after the swap`,
      keep: `stays: ${reason ?? 'it was asked for'}`,
    }[action];
    return `source: ${path} ${becomes}${link === undefined ? '' : `; a link there leads to ${link}`}`;
  });
}
