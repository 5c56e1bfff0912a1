import { expect, test } from 'vitest';
import { samplePlan } from '../testing/sample-plan.ts';
import { DiskProgress } from './disk-progress.ts';

const MiB = 2 ** 20;

test('a shared base counts for both disks, and what was not begun counts as open', () => {
  const progress = new DiskProgress(samplePlan);
  expect(progress.rows()[0]).toEqual({ disk: 'vda', phase: 'starting' });
  progress.event({ type: 'step', step: 'copy', state: 'begun' });
  progress.report({
    phase: 'copy',
    key: '/big/base.raw',
    disks: ['vda', 'vdb'],
    done: 30 * MiB,
    total: 100 * MiB,
    rate: 9,
  });
  progress.report({ phase: 'copy', key: '/big/vda.qcow2', disks: ['vda'], done: 20 * MiB, total: 20 * MiB, rate: 7 });
  // The mirrors are watched while the images are copied; that is not what the copy's line is about.
  progress.report({ phase: 'mirror', key: 'vda', disks: ['vda'], done: 1, total: 2 });
  expect(progress.rows()).toEqual([
    { disk: 'vda', phase: 'copying', done: 50 * MiB, total: 120 * MiB, rate: 9 },
    { disk: 'vdb', phase: 'copying', done: 30 * MiB, total: 120 * MiB, rate: 9 },
  ]);
});

test('a pause and the way back are seen', () => {
  const progress = new DiskProgress(samplePlan);
  progress.event({ type: 'step', step: 'copy', state: 'begun' });
  progress.report({ phase: 'copy', key: '/big/base.raw', disks: ['vda'], done: MiB, total: 100 * MiB, rate: 9 });
  progress.event({ type: 'paused' });
  expect(progress.rows()[0]).toEqual({ disk: 'vda', phase: 'paused', done: MiB, total: 120 * MiB });
  progress.event({ type: 'resumed' });
  expect(progress.rows()[0]?.phase).toBe('copying');
  progress.event({ type: 'step', step: 'copy', state: 'undoing' });
  expect(progress.rows()[0]).toEqual({ disk: 'vda', phase: 'undoing copy' });
});
