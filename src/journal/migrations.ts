import { ferryError } from '../base/index.ts';
import type { Database, Row } from './database.ts';
import { fromJson, toJson } from './json.ts';

/** Which virtual machine a migration is about. */
export interface VmRef {
  readonly name: string;
  /** As the VM states it; empty or all zeros when it has none. */
  readonly uuid: string;
  /** The QEMU process as `bootid/pid/starttime`; empty when it is not on this host or not known. */
  readonly process: string;
  /** The path of the QMP socket, or `host:port`, or a libvirt URI. */
  readonly address: string;
  /** The host that the VM runs on. */
  readonly host: string;
}

/** `done` and `rolled-back` are final: all others are unfinished. `attention` waits for a person. */
export type MigrationState = 'running' | 'paused' | 'rolling-back' | 'done' | 'rolled-back' | 'attention';

/** Where the migration goes: to the target, or back to the source. Never from back to forward. */
export type MigrationGoal = 'forward' | 'back';

export interface Migration {
  readonly id: string;
  readonly vm: VmRef;
  readonly state: MigrationState;
  readonly goal: MigrationGoal;
  /** JSON values that the journal keeps and does not read. */
  readonly plan: unknown;
  readonly options: unknown;
  /** The last thing that was said about it, for a person. */
  readonly message?: string;
  /** Wall-clock times in milliseconds since 1970. */
  readonly createdAt: number;
  readonly updatedAt: number;
  readonly finishedAt?: number;
}

export type NewMigration = Pick<Migration, 'id' | 'vm' | 'plan' | 'options'>;
export type MigrationChange = Partial<Pick<Migration, 'state' | 'goal' | 'message' | 'plan' | 'options'>>;

/** From each state, the states that it may change to (it may always stay). */
export const STATE_CHANGES: { readonly [S in MigrationState]: readonly MigrationState[] } = {
  running: ['paused', 'rolling-back', 'attention', 'done', 'rolled-back'],
  paused: ['running', 'rolling-back', 'attention', 'done', 'rolled-back'],
  'rolling-back': ['attention', 'rolled-back'],
  attention: ['running', 'rolling-back', 'done', 'rolled-back'],
  done: [],
  'rolled-back': [],
};

/** Whether nothing is left to be done in this state. */
export function isFinished(state: MigrationState): boolean {
  return state === 'done' || state === 'rolled-back';
}

/** The UUID in lower case, or nothing when it is all zeros: QEMU's answer for a VM that was given none. */
export function normalUuid(uuid: string): string {
  return /^[0-]*$/.test(uuid) ? '' : uuid.toLowerCase();
}

/** The VM of a row that has its columns. */
export function vmRefOf(row: Row): VmRef {
  return {
    name: String(row['vm_name']),
    uuid: String(row['vm_uuid']),
    process: String(row['vm_process']),
    address: String(row['vm_address']),
    host: String(row['vm_host']),
  };
}

function migrationOf(row: Row): Migration {
  return {
    id: String(row['id']),
    vm: vmRefOf(row),
    state: row['state'] as MigrationState,
    goal: row['goal'] as MigrationGoal,
    plan: fromJson(row['plan']),
    options: fromJson(row['options']),
    ...(row['message'] === null ? {} : { message: String(row['message']) }),
    createdAt: Number(row['created_at']),
    updatedAt: Number(row['updated_at']),
    ...(row['finished_at'] === null ? {} : { finishedAt: Number(row['finished_at']) }),
  };
}

/** @throws FerryError MIGRATION_EXISTS */
export function addMigration(db: Database, now: number, { id, vm, plan, options }: NewMigration): void {
  // The id becomes the name of a control socket.
  if (!/^[A-Za-z0-9][A-Za-z0-9_-]{0,63}$/.test(id)) throw ferryError('INTERNAL', { what: `bad migration id '${id}'` });
  const ref = { ...vm, uuid: normalUuid(vm.uuid) };
  db.write(() => {
    const other = db.get(
      `SELECT id, vm_name, state FROM migrations WHERE finished_at IS NULL AND (
         ($uuid <> '' AND vm_uuid = $uuid AND vm_host = $host)
         OR ($process <> '' AND vm_process = $process)
         OR ($uuid = '' AND vm_uuid = '' AND vm_address = $address AND vm_process = $process AND vm_host = $host)
       ) ORDER BY created_at LIMIT 1`,
      { uuid: ref.uuid, host: ref.host, process: ref.process, address: ref.address },
    );
    if (other) {
      const [vm, id] = [String(other['vm_name']), String(other['id'])];
      throw ferryError('MIGRATION_EXISTS', { vm, id, driver: `which is ${String(other['state'])}` });
    }
    db.run(
      `INSERT INTO migrations (id, vm_name, vm_uuid, vm_process, vm_address, vm_host, state, goal, plan, options,
         created_at, updated_at)
       VALUES ($id, $name, $uuid, $process, $address, $host, 'running', 'forward', $plan, $options, $now, $now)`,
      { ...ref, id, plan: toJson(plan), options: toJson(options), now },
    );
  });
}

/** @throws FerryError NO_SUCH_MIGRATION */
export function migration(db: Database, directory: string, id: string): Migration {
  const row = db.get('SELECT * FROM migrations WHERE id = $id', { id });
  if (!row) throw ferryError('NO_SUCH_MIGRATION', { directory, id });
  return migrationOf(row);
}

/** @throws FerryError NO_SUCH_MIGRATION, AMBIGUOUS_MIGRATION */
export function findMigration(db: Database, directory: string, idOrPrefix: string): Migration {
  const rows = db.all('SELECT * FROM migrations WHERE substr(id, 1, length($id)) = $id ORDER BY created_at, rowid', {
    id: idOrPrefix,
  });
  const found = rows.map(migrationOf);
  const exact = found.find(({ id }) => id === idOrPrefix) ?? (found.length === 1 ? found[0] : undefined);
  if (idOrPrefix === '' || found.length === 0) throw ferryError('NO_SUCH_MIGRATION', { directory, id: idOrPrefix });
  if (exact) return exact;
  throw ferryError('AMBIGUOUS_MIGRATION', { id: idOrPrefix, ids: found.map(({ id }) => id).join(', ') });
}

export function migrations(db: Database, unfinished: boolean | undefined): Migration[] {
  const rows = db.all(
    `SELECT * FROM migrations WHERE $unfinished IS NULL OR (finished_at IS NULL) = $unfinished
     ORDER BY created_at, rowid`,
    { unfinished: unfinished === undefined ? null : Number(unfinished) },
  );
  return rows.map(migrationOf);
}

/** @throws FerryError NO_SUCH_MIGRATION; INTERNAL for a change that is not allowed */
export function updateMigration(
  db: Database,
  directory: string,
  now: number,
  id: string,
  change: MigrationChange,
): void {
  db.write(() => {
    const old = migration(db, directory, id);
    const next = { ...old, ...change };
    checkChange(old, next);
    if (next.goal !== old.goal && db.get(STANDING_PIVOT, { id })?.['verdict'] === 'commit') {
      throw ferryError('INTERNAL', { what: `migration ${id} cannot go back: its pivot's commit record stands` });
    }
    db.run(
      `UPDATE migrations SET state = $state, goal = $goal, message = $message, plan = $plan, options = $options,
         updated_at = $now, finished_at = CASE WHEN $finished THEN coalesce(finished_at, $now) END WHERE id = $id`,
      {
        id,
        state: next.state,
        goal: next.goal,
        message: next.message ?? null,
        plan: toJson(next.plan),
        options: toJson(next.options),
        finished: Number(isFinished(next.state)),
        now,
      },
    );
  });
}

const STANDING_PIVOT = `SELECT verdict FROM commit_records WHERE migration = $id AND kind = 'pivot'
  ORDER BY seq DESC LIMIT 1`;

function checkChange(old: Migration, next: Migration): void {
  const wrong = (what: string): never => {
    throw ferryError('INTERNAL', { what: `migration ${old.id} cannot change ${what}` });
  };
  if (next.state !== old.state && !STATE_CHANGES[old.state].includes(next.state)) {
    wrong(`from ${old.state} to ${next.state}`);
  }
  if (next.goal !== old.goal && (old.goal === 'back' || isFinished(old.state))) wrong(`its goal to ${next.goal}`);
  if ((next.state === 'rolling-back' || next.state === 'rolled-back') && next.goal !== 'back') {
    wrong(`to ${next.state} while its goal is ${next.goal}`);
  }
  if (next.state === 'done' && next.goal !== 'forward') wrong(`to done while its goal is ${next.goal}`);
}
