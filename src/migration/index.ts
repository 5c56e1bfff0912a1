/**
 * Moves the disks of a running virtual machine to another storage, all at one instant: `blockferry`.
 */
export { type Clock, FerryError, isFerryError } from '../base/index.ts';
export { askMigration, type ControlCommand } from './control.ts';
export type { MigrationEvent, ProgressReport } from './event.ts';
export { findLeftovers, type Leftover, removeLeftover } from './leftovers.ts';
export { makePlan, type PlanResult } from './make-plan.ts';
export { Migration, type MigrationDeps, type Outcome } from './migration.ts';
export type { MigrationPlan, PlannedCopy, PlannedDisk, PlannedStorage, SourceFile } from './plan.ts';
export { type OfflineDeps, recoverOffline } from './recover-offline.ts';
export { planRefused } from './refusals.ts';
export { DEFAULT_REQUEST, type MigrationRequest } from './request.ts';
export type { RunControl } from './run-control.ts';
export { STEPS, type StepName } from './step-name.ts';
export type { Survey } from './survey.ts';
export { takeSurvey } from './take-survey.ts';
