import type { Journal, SnapshotIntent } from '../../journal/index.ts';
import type { DiskSnapshotPlan } from '../../snapshots/index.ts';
import { type MigrationView, ownerOfMigration } from '../migration-view.ts';
import { formatTime, type Paint, printable } from '../terminal/text.ts';

/** A snapshot without mirrors that is not finished, as `status` shows it. */
export interface SnapshotIntentView {
  readonly vm: SnapshotIntent['vm'];
  readonly name: string;
  /** Process id of who takes it; `none` when that has died, `unknown` where this user may not ask. */
  readonly owner: MigrationView['owner'];
  /** Wall-clock time in milliseconds since 1970. */
  readonly createdAt: number;
  /** The new file of each disk: it may not be there yet, or be what the VM runs on. */
  readonly files: readonly { readonly disk: string; readonly path: string }[];
  /** The guest's file systems may be frozen for it. */
  readonly frozen: boolean;
}

/** What the journal knows of it. Asks nobody but the taker whether it lives. */
export async function intentView(
  journal: Journal,
  { id, vm, name, createdAt, plan }: SnapshotIntent,
): Promise<SnapshotIntentView> {
  const { disks, frozen = false } = plan as DiskSnapshotPlan;
  const files = disks.map(({ disk, path }) => ({ disk, path }));
  return { vm, name, owner: await ownerOfMigration(journal, id), createdAt, files, frozen };
}

/** For a person. */
export function intentLines({ vm, name, owner, createdAt, files, frozen }: SnapshotIntentView, paint: Paint): string[] {
  const state = {
    none: 'begun, and nobody takes it any more; `blockferry recover` finds out what became of it',
    unknown: 'begun; whether somebody takes it cannot be told',
  };
  const facts: [string, string][] = [
    ['state', typeof owner === 'number' ? `being taken by process ${owner}` : state[owner]],
    ['begun', formatTime(createdAt)],
    ...(frozen ? [['guest', 'its file systems may be frozen for it'] satisfies [string, string]] : []),
    ...files.map(({ disk, path }): [string, string] => ['file', `${path} (${disk})`]),
  ];
  return [
    paint('bold', `snapshot ${printable(name)} of ${printable(vm.name)}`),
    ...facts.map(([title, value]) => `  ${title.padEnd(9)} ${printable(value)}`),
  ];
}
