import { describe, expect, test } from 'vitest';
import { EXIT, ferryError } from '../base/index.ts';
import { asFerryError, EXIT_MEANING, endingResult, errorResult } from './exit-status.ts';

const migration = { id: 'k3x9', vm: { name: 'web' } };
const cause = ferryError('MIRROR_FAILED', { disk: 'vda', target: '/big/vda', reason: 'No space left on device' });

describe('how a migration ended', () => {
  test('done', () => {
    expect(endingResult(migration, { kind: 'done', message: 'moved' })).toEqual({
      result: { outcome: 'done', exitStatus: 0, message: 'moved' },
    });
  });

  test('rolled back: 4, with the cause; 0 where that was wanted', () => {
    const ending = { kind: 'rolled-back', message: 'back', cause } as const;
    const { result, error } = endingResult(migration, ending);
    expect(result.exitStatus).toBe(4);
    expect(error).toMatchObject({ code: 'ROLLED_BACK', exitStatus: 4, cause });
    expect(error?.message).toContain('No space left on device');
    expect(endingResult(migration, ending, 'rolled-back')).toEqual({
      result: { outcome: 'rolled-back', exitStatus: 0, message: 'back' },
    });
  });

  test('done although it was to be rolled back: too late', () => {
    const { result, error } = endingResult(migration, { kind: 'done', message: 'moved' }, 'rolled-back');
    expect(result).toMatchObject({ outcome: 'done', exitStatus: 1 });
    expect(error).toMatchObject({ code: 'TOO_LATE' });
  });

  test('attention and left: 5, and how to go on', () => {
    const { result, error } = endingResult(migration, { kind: 'attention', message: 'fold failed', cause });
    expect(result.exitStatus).toBe(5);
    expect(error?.remedy).toBe(`${cause.remedy} Then go on with \`blockferry resume k3x9\`.`);
    expect(endingResult(migration, { kind: 'left', message: 'left' }).result.exitStatus).toBe(5);
  });
});

test('what is no error of the registry is a bug', () => {
  const error = asFerryError(new TypeError('x is not a function'));
  expect(error).toMatchObject({ code: 'INTERNAL', message: 'blockferry has a bug: x is not a function' });
  expect(errorResult(error)).toEqual({ outcome: 'error', exitStatus: 1, message: error.message });
});

test('the statuses are what scripts rely on', () => {
  expect(EXIT).toEqual({ done: 0, failed: 1, usage: 2, refused: 3, rolledBack: 4, attention: 5 });
  expect(Object.keys(EXIT_MEANING)).toEqual(Object.keys(EXIT));
});
