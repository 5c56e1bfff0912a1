import { describe, expect, test } from 'vitest';
import { systemClock } from '../../base/index.ts';
import { pivot } from './pivot.ts';

type Act =
  | 'check'
  | 'flush'
  | 'open'
  | 'ask'
  | 'hold'
  | 'attach'
  | 'write'
  | 'revoke'
  | 'release'
  | 'settle'
  | 'cancel'
  | 'dispose';

/** Runs a swap in which some acts fail, and tells in which order things were done. */
async function swap(...failing: readonly Act[]): Promise<{ acts: Act[]; error?: string }> {
  const acts: Act[] = [];
  const act = (name: Act): void => {
    acts.push(name);
    if (failing.includes(name)) throw new Error(`${name} failed`);
  };
  const later = (name: Act) => () => Promise.try(() => act(name));
  const group = {
    check: later('check'),
    flush: later('flush'),
    ask: later('ask'),
    hold: later('hold'),
    attach: later('attach'),
    release: later('release'),
    settle: later('settle'),
    cancel: later('cancel'),
  };
  const record = {
    open() {
      act('open');
      return {
        write: () => act('write'),
        revoke: later('revoke'),
        [Symbol.dispose]: () => act('dispose'),
      };
    },
  };
  try {
    await pivot(group, record, systemClock);
    return { acts };
  } catch (error) {
    return { acts, error: (error as Error).message };
  }
}

describe('the two-phase swap', () => {
  test('goes by the page', async () => {
    expect(await swap()).toEqual({
      acts: ['check', 'flush', 'open', 'ask', 'hold', 'attach', 'write', 'release', 'settle', 'dispose'],
    });
  });

  test.each(['check', 'flush', 'open', 'ask'] as const)('nothing is held when %s fails', async (act) => {
    const { acts, error } = await swap(act);
    expect(error).toBe(`${act} failed`);
    expect(acts).not.toContain('hold');
    expect(acts).not.toContain('write');
  });

  test('a group that cannot be held is let go, without a record', async () => {
    expect(await swap('hold')).toEqual({
      acts: ['check', 'flush', 'open', 'ask', 'hold', 'cancel', 'dispose'],
      error: 'hold failed',
    });
  });

  test('a group that cannot be put on its chain is let go, without a record', async () => {
    const { acts } = await swap('attach');
    expect(acts).toEqual(['check', 'flush', 'open', 'ask', 'hold', 'attach', 'cancel', 'dispose']);
  });

  test('a record whose writing failed is revoked before the group is let go', async () => {
    expect(await swap('write')).toEqual({
      acts: ['check', 'flush', 'open', 'ask', 'hold', 'attach', 'write', 'revoke', 'cancel', 'dispose'],
      error: 'write failed',
    });
  });

  test('the guest is let go even when the record cannot be revoked', async () => {
    const { acts } = await swap('write', 'revoke');
    expect(acts.slice(-3)).toEqual(['revoke', 'cancel', 'dispose']);
  });

  test.each(['release', 'settle'] as const)(
    'after the record nothing is cancelled, even when %s fails',
    async (act) => {
      const { acts, error } = await swap(act);
      expect(error).toBe(`${act} failed`);
      expect(acts).not.toContain('cancel');
      expect(acts).not.toContain('revoke');
    },
  );

  test('the record never comes after the first release', async () => {
    const { acts } = await swap();
    expect(acts.indexOf('write')).toBeLessThan(acts.indexOf('release'));
  });
});
