import type { Database, Row } from './database.ts';
import { normalUuid, type VmRef } from './migrations.ts';

/** Whose snapshots they are: the UUID counts, and the name where there is none. */
export type SnapshotOwner = Pick<VmRef, 'name' | 'uuid'>;

/** One snapshot, as it is kept. */
export interface SnapshotRecord {
  readonly name: string;
  /** The `<domainsnapshot>`; the journal does not read it. */
  readonly xml: string;
  readonly current: boolean;
}

const OF_VM = "vm_uuid = $uuid AND (vm_uuid <> '' OR vm_name = $name)";

function keyOf({ name, uuid }: SnapshotOwner): { name: string; uuid: string } {
  return { name, uuid: normalUuid(uuid) };
}

/** Whoever only looks on does not upgrade a journal, so an older one may lack a table. */
export function hasTable(db: Database, name: string): boolean {
  return db.get("SELECT 1 FROM sqlite_schema WHERE type = 'table' AND name = $name", { name }) !== undefined;
}

/** In the order in which they were taken. */
export function snapshots(db: Database, vm: SnapshotOwner): SnapshotRecord[] {
  if (!hasTable(db, 'snapshots')) return [];
  return db.all(`SELECT name, xml, current FROM snapshots WHERE ${OF_VM} ORDER BY seq`, keyOf(vm)).map(recordOf);
}

function recordOf(row: Row): SnapshotRecord {
  return { name: String(row['name']), xml: String(row['xml']), current: row['current'] === 1 };
}

/** VMs that have snapshots. */
export function snapshotOwners(db: Database): SnapshotOwner[] {
  if (!hasTable(db, 'snapshots')) return [];
  const rows = db.all(
    'SELECT vm_uuid, vm_name, max(seq) AS last FROM snapshots GROUP BY vm_uuid, vm_name ORDER BY last',
  );
  return rows.map((row) => ({ name: String(row['vm_name']), uuid: String(row['vm_uuid']) }));
}

/** Replaces the snapshots of a VM by what a function makes of them; all of it in one transaction. */
export function changeSnapshots(
  db: Database,
  vm: SnapshotOwner,
  change: (former: readonly SnapshotRecord[]) => readonly SnapshotRecord[],
): void {
  const key = keyOf(vm);
  db.write(() => {
    const records = change(snapshots(db, vm));
    db.run(`DELETE FROM snapshots WHERE ${OF_VM}`, key);
    for (const { name, xml, current } of records) {
      db.run(
        `INSERT INTO snapshots (vm_uuid, vm_name, name, xml, current) VALUES ($uuid, $vm, $name, $xml, $current)`,
        { uuid: key.uuid, vm: key.name, name, xml, current: Number(current) },
      );
    }
  });
}
