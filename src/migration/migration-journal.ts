import type { Journal } from '../journal/index.ts';

/** What driving one migration needs of the journal. Each method that writes returns when the write is on disk. */
export type MigrationJournal = Pick<
  Journal,
  | 'dir'
  | 'transaction'
  | 'addMigration'
  | 'migration'
  | 'update'
  | 'intendStep'
  | 'confirmStep'
  | 'undoingStep'
  | 'undoneStep'
  | 'steps'
  | 'ledgerPlan'
  | 'ledgerMade'
  | 'ledgerGone'
  | 'ledger'
  | 'quiesce'
  | 'writeCommitRecord'
  | 'voidCommitRecord'
  | 'commitRecord'
  | 'emit'
  | 'saveProgress'
>;
