import { expect, test } from 'vitest';
import { type OfflineFacts, type OfflineVerdict, offlineVerdict } from './offline-verdict.ts';

const none = { pivot: false, fold: false, foldBack: false };

test.each<[string, OfflineFacts, OfflineVerdict]>([
  ['nothing was begun', { snapshotBegun: false, committed: none, fold: true }, { truth: 'source', overlay: 'drop' }],
  [
    'the snapshot was begun, whether it took place or not',
    { snapshotBegun: true, committed: none, fold: true },
    { truth: 'source', overlay: 'merge' },
  ],
  [
    'without the fold at the end the source is merged all the same',
    { snapshotBegun: true, committed: none, fold: false },
    { truth: 'source', overlay: 'merge' },
  ],
  [
    'the rollback had folded the overlay back',
    { snapshotBegun: true, committed: { ...none, foldBack: true }, fold: true },
    { truth: 'source', overlay: 'drop' },
  ],
  [
    'swapped, not folded',
    { snapshotBegun: true, committed: { ...none, pivot: true }, fold: true },
    { truth: 'target', overlay: 'merge' },
  ],
  [
    'swapped, and no fold was asked for',
    { snapshotBegun: true, committed: { ...none, pivot: true }, fold: false },
    { truth: 'target', overlay: 'keep' },
  ],
  [
    'swapped and folded',
    { snapshotBegun: true, committed: { ...none, pivot: true, fold: true }, fold: true },
    { truth: 'target', overlay: 'drop' },
  ],
])('%s', (_, facts, verdict) => {
  expect(offlineVerdict(facts)).toEqual(verdict);
});
