import type { StepName } from './step-name.ts';

/** What happens in a migration, as it is written to the journal and shown. Sizes in bytes, times in milliseconds. */
export type MigrationEvent =
  | { readonly type: 'started'; readonly vm: string; readonly disks: readonly string[] }
  /** Another process went on with it. */
  | { readonly type: 'taken-over'; readonly pid: number }
  /** The guest's I/O was found held by somebody who died in a swap; it goes on, on this side. */
  | { readonly type: 'freed'; readonly kind: 'pivot' | 'fold' | 'fold-back'; readonly side: 'source' | 'target' }
  | {
      readonly type: 'step';
      readonly step: StepName;
      readonly state: 'begun' | 'done' | 'undoing' | 'undone';
      readonly ms?: number;
    }
  | { readonly type: 'paused' }
  | { readonly type: 'resumed' }
  | { readonly type: 'speed'; readonly bytesPerSecond: number }
  /**
   * The guest's I/O was held: from the first `job-complete` to the last `job-finalize` (`pivot`, `fold`), or, on QEMUs that
   * would miss writes otherwise, while mirrors or folds were started (`start`).
   */
  | { readonly type: 'held'; readonly kind: 'pivot' | 'fold' | 'start'; readonly ms: number; readonly disks: number }
  /** The guest's file systems were frozen while a snapshot was taken: from the call that freezes them until they were thawed. */
  | { readonly type: 'frozen'; readonly ms: number }
  /** A copy was read back from the target's storage and is its source, byte for byte. */
  | { readonly type: 'verified'; readonly target: string; readonly bytes: number; readonly digest: string }
  | { readonly type: 'warning'; readonly message: string }
  /** A step failed; what follows is the rollback, or, after the commit record, the way forward. */
  | {
      readonly type: 'failed';
      readonly step: StepName;
      readonly code: string;
      readonly message: string;
      readonly remedy: string;
    }
  | {
      readonly type: 'finished';
      readonly outcome: 'done' | 'rolled-back' | 'attention' | 'left' | 'mirrored';
      readonly message: string;
    };

/** How far a copy, its proof, a mirror or a fold is. Not kept as history: only the last one counts. */
export interface ProgressReport {
  readonly phase: 'mirror' | 'copy' | 'verify' | 'fold';
  /** Disk id for `mirror` and `fold`; target path of the image for `copy` and `verify`. */
  readonly key: string;
  /** The disks that it is about. */
  readonly disks: readonly string[];
  readonly done: number;
  readonly total: number;
  /** Bytes per second lately. */
  readonly rate?: number;
}
