/**
 * Moves the disks of a running virtual machine to another storage, all at one instant: `blockferry`.
 */
export { type Clock, FerryError, isFerryError } from '../base/index.ts';
export { askMigration, type ControlCommand } from './control.ts';
export type { MigrationEvent, ProgressReport } from './event.ts';
export { findLeftovers, type Leftover, removeLeftover } from './recovery/leftovers.ts';
export { disksAreThere } from './plan/choose-disks.ts';
export type { Host } from './host.ts';
export type { MigrationJournal } from './migration-journal.ts';
export { fileNames, makePlan, type PlanResult } from './plan/make-plan.ts';
export { Migration, type MigrationDeps, type Outcome } from './migration.ts';
export type {
  MigrationPlan,
  PlannedCopy,
  PlannedDisk,
  PlannedPlaceholder,
  PlannedStorage,
  SourceFile,
} from './plan/plan.ts';
export { type OfflineDeps, recoverOffline } from './recovery/recover-offline.ts';
export { planRefused } from './plan/refusals.ts';
export { DEFAULT_REQUEST, type MigrationRequest, type SnapshotRequest } from './plan/request.ts';
export type { RunControl } from './run-control.ts';
export { STEPS, type StepName } from './step-name.ts';
export type { Survey } from './plan/survey.ts';
export { takeSurvey } from './plan/take-survey.ts';
