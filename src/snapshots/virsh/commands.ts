import { snapshotDelete, snapshotEdit, snapshotRevert } from './change.ts';
import type { Command } from './command.ts';
import { snapshotCreate, snapshotCreateAs } from './create.ts';
import { snapshotList } from './list.ts';
import { snapshotCurrent, snapshotDumpxml, snapshotInfo, snapshotParent } from './look.ts';

/** virsh's commands about snapshots, by their names. */
export const SNAPSHOT_COMMANDS: Readonly<Record<string, Command>> = {
  'snapshot-create': snapshotCreate,
  'snapshot-create-as': snapshotCreateAs,
  'snapshot-list': snapshotList,
  'snapshot-info': snapshotInfo,
  'snapshot-dumpxml': snapshotDumpxml,
  'snapshot-parent': snapshotParent,
  'snapshot-current': snapshotCurrent,
  'snapshot-delete': snapshotDelete,
  'snapshot-revert': snapshotRevert,
  'snapshot-edit': snapshotEdit,
};
