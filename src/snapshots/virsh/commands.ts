import { snapshotDelete, snapshotEdit, snapshotRevert } from './change.ts';
import type { Command } from './command.ts';
import { snapshotCreate, snapshotCreateAs } from './create.ts';
import { snapshotList } from './list.ts';
import { snapshotCurrent, snapshotDumpxml, snapshotInfo, snapshotParent } from './look.ts';

/** virsh's commands about snapshots. */
export const SNAPSHOT_COMMANDS: readonly Command[] = [
  snapshotCreate,
  snapshotCreateAs,
  snapshotList,
  snapshotInfo,
  snapshotDumpxml,
  snapshotParent,
  snapshotCurrent,
  snapshotDelete,
  snapshotRevert,
  snapshotEdit,
];
