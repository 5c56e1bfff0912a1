/**
 * Moves the disks of a running virtual machine to another storage, all at one instant: `blockferry`.
 */
export { type Clock, FerryError, isFerryError } from '../base/index.ts';
export { askMigration, type ControlCommand } from './control.ts';
export type { MigrationEvent, ProgressReport } from './event.ts';
export { findLeftovers, type Leftover, removeLeftover } from './recovery/leftovers.ts';
export { disksAreThere, leftBecause } from './plan/choose-disks.ts';
export { type FileMark, fileMark, sameMark } from './file-mark.ts';
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
export { withKeptSnapshots } from './plan/kept-snapshots.ts';
export { migrationId } from './plan/migration-id.ts';
export { planRefused, sourceRefusals } from './plan/refusals.ts';
export { DEFAULT_REQUEST, type MigrationRequest, type SnapshotRequest } from './plan/request.ts';
export type { RunControl } from './run-control.ts';
export { mayBeFrozen, THAWED } from './swap/guest-freeze.ts';
export { STEPS, type StepName } from './step-name.ts';
export type { SourceSurvey, Survey } from './plan/survey.ts';
export { surveySource, takeSurvey } from './plan/take-survey.ts';
