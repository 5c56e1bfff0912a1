import { ferryError } from '../base/index.ts';
import type { Database, Parameters, Row } from './database.ts';
import { fromJson, toJson } from './json.ts';
import { normalUuid, type VmRef, vmRefOf } from './migrations.ts';
import { hasTable, type SnapshotOwner } from './snapshots.ts';

/** A snapshot without mirrors that is being taken, or that whoever took it died of. */
export interface SnapshotIntent {
  readonly id: string;
  readonly vm: VmRef;
  /** The snapshot's. */
  readonly name: string;
  /** A JSON value that the journal keeps and does not read. */
  readonly plan: unknown;
  /** Wall-clock time in milliseconds since 1970. */
  readonly createdAt: number;
}

export type NewSnapshotIntent = Pick<SnapshotIntent, 'id' | 'vm' | 'name' | 'plan'>;

function intentOf(row: Row): SnapshotIntent {
  return {
    id: String(row['id']),
    vm: vmRefOf(row),
    name: String(row['name']),
    plan: fromJson(row['plan']),
    createdAt: Number(row['created_at']),
  };
}

/** The rows of a VM, in a table that has its process and host. */
const SAME_VM = `(($uuid <> '' AND vm_uuid = $uuid) OR ($process <> '' AND vm_process = $process)
  OR ($uuid = '' AND vm_uuid = '' AND vm_name = $name)) AND vm_host = $host`;

/** @throws FerryError SNAPSHOT_UNFINISHED, MIGRATION_EXISTS */
export function addIntent(db: Database, now: number, { id, vm, name, plan }: NewSnapshotIntent): void {
  db.write(() => {
    refuseUnfinished(db, vm);
    const sql = `SELECT id, state FROM migrations WHERE finished_at IS NULL AND ${SAME_VM} LIMIT 1`;
    const other = db.get(sql, keyOf(vm));
    if (other) {
      const driver = `which is ${String(other['state'])}`;
      throw ferryError('MIGRATION_EXISTS', { vm: vm.name, id: String(other['id']), driver });
    }
    db.run(
      `INSERT INTO snapshot_intents (id, vm_name, vm_uuid, vm_process, vm_address, vm_host, name, plan, created_at)
       VALUES ($id, $vm, $uuid, $process, $address, $host, $name, $plan, $now)`,
      {
        id,
        vm: vm.name,
        uuid: normalUuid(vm.uuid),
        process: vm.process,
        address: vm.address,
        host: vm.host,
        name,
        plan: toJson(plan),
        now,
      },
    );
  });
}

/** @throws FerryError SNAPSHOT_UNFINISHED when a snapshot of this VM is being taken */
export function refuseUnfinished(db: Database, vm: VmRef): void {
  const other = db.get(`SELECT name FROM snapshot_intents WHERE ${SAME_VM} LIMIT 1`, keyOf(vm));
  if (other) throw ferryError('SNAPSHOT_UNFINISHED', { vm: vm.name, snapshot: String(other['name']) });
}

function keyOf({ name, uuid, process, host }: VmRef): Parameters {
  return { name, uuid: normalUuid(uuid), process, host };
}

/** Replaces what is kept of it. */
export function updateIntent(db: Database, id: string, plan: unknown): void {
  db.write(() => db.run('UPDATE snapshot_intents SET plan = $plan WHERE id = $id', { id, plan: toJson(plan) }));
}

/** Saying it twice is right. */
export function endIntent(db: Database, id: string): void {
  db.write(() => db.run('DELETE FROM snapshot_intents WHERE id = $id', { id }));
}

/** All, or those of one VM, the oldest first. */
export function intents(db: Database, vm?: SnapshotOwner): SnapshotIntent[] {
  if (!hasTable(db, 'snapshot_intents')) return [];
  const all = db.all('SELECT * FROM snapshot_intents ORDER BY created_at, rowid').map(intentOf);
  if (vm === undefined) return all;
  const uuid = normalUuid(vm.uuid);
  return all.filter(({ vm: other }) => other.uuid === uuid && (uuid !== '' || other.name === vm.name));
}
