export type { CommitKind, CommitRecord } from './commit-records.ts';
export type { ControlRequest } from './control-line.ts';
export type { EventFilter, JournalEvent, Progress, ProgressRecord } from './events.ts';
export { Journal, type JournalOptions } from './journal.ts';
export type { LedgerEntry, LedgerFilter, LedgerKind, LedgerState, NewLedgerEntry } from './ledger.ts';
export type {
  Migration,
  MigrationChange,
  MigrationGoal,
  MigrationState,
  NewMigration,
  VmRef,
} from './migrations.ts';
export {
  type AskOptions,
  askOwner,
  type ControlHandler,
  MigrationOwner,
  ownerPid,
  removeDeadSockets,
} from './migration-owner.ts';
export type { NewSnapshotIntent, SnapshotIntent } from './snapshot-intents.ts';
export type { SnapshotOwner, SnapshotRecord } from './snapshots.ts';
export { stateDirectory } from './state-directory.ts';
export type { StepRecord, StepState } from './steps.ts';
