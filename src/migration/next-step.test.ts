import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { nextStep, type Progress, type StepState, stepsOf } from './next-step.ts';
import { STEPS, type StepName } from './step-name.ts';

const progress = (steps: Partial<Record<StepName, StepState>>, more: Partial<Progress> = {}): Progress => ({
  steps: new Map(Object.entries(steps) as [StepName, StepState][]),
  committed: false,
  goal: 'forward',
  request: { verify: true, fold: true },
  ...more,
});

const request = fc.record({ verify: fc.boolean(), fold: fc.boolean() });

describe('next step', () => {
  test('begins with the first', () => {
    expect(nextStep(progress({}))).toEqual({ kind: 'do', step: 'prepare' });
  });

  test('repeats a step that was intended and not confirmed', () => {
    expect(nextStep(progress({ prepare: 'done', snapshot: 'intended' }))).toEqual({ kind: 'do', step: 'snapshot' });
  });

  test('leaves out what was not asked for', () => {
    const steps = { prepare: 'done', snapshot: 'done', mirror: 'done', copy: 'done' } as const;
    expect(nextStep(progress(steps, { request: { verify: false, fold: true } }))).toEqual({
      kind: 'do',
      step: 'attach',
    });
  });

  test('mirrors last where the chain has to be there first, and undoes it first', () => {
    const steps = { prepare: 'done', snapshot: 'done' } as const;
    expect(nextStep(progress(steps, { mirrorLast: true }))).toEqual({ kind: 'do', step: 'copy' });
    expect(stepsOf({ verify: true, fold: true }, true).join()).toBe(
      'prepare,snapshot,copy,verify,attach,mirror,pivot,fold,clean',
    );
    const mirrored = { ...steps, copy: 'done', verify: 'done', attach: 'done', mirror: 'done' } as const;
    expect(nextStep(progress(mirrored, { mirrorLast: true, goal: 'back' }))).toEqual({ kind: 'undo', step: 'mirror' });
  });

  test('undoes the last step that was begun', () => {
    const steps = { prepare: 'done', snapshot: 'done', mirror: 'intended' } as const;
    expect(nextStep(progress(steps, { goal: 'back' }))).toEqual({ kind: 'undo', step: 'mirror' });
  });

  test('after the commit record there is no way back', () => {
    const steps = Object.fromEntries(STEPS.slice(0, 7).map((step) => [step, 'done'])) as Partial<
      Record<StepName, StepState>
    >;
    const next = nextStep(progress({ ...steps, pivot: 'intended' }, { goal: 'back', committed: true }));
    expect(next).toEqual({ kind: 'do', step: 'pivot' });
  });

  test('forward: every step once, in order, then done', () => {
    fc.assert(
      fc.property(request, (asked) => {
        const steps: Partial<Record<StepName, StepState>> = {};
        const seen: StepName[] = [];
        for (let n = 0; n <= STEPS.length; n++) {
          const next = nextStep(progress(steps, { request: asked, committed: steps.pivot === 'done' }));
          if (next.kind === 'finish') {
            expect([next.outcome, seen]).toEqual(['done', stepsOf(asked)]);
            return;
          }
          expect(next.kind).toBe('do');
          seen.push(next.step);
          steps[next.step] = 'done';
        }
        throw new Error('it never ends');
      }),
    );
  });

  test('back, from wherever it turns: every begun step undone once, last first, then rolled back', () => {
    const turn = fc.record({ request, done: fc.nat(6), partly: fc.boolean() });
    fc.assert(
      fc.property(turn, ({ request: asked, done, partly }) => {
        const before = stepsOf(asked).slice(0, stepsOf(asked).indexOf('pivot') + 1);
        const begun = before.slice(0, Math.min(done, before.length));
        const steps: Partial<Record<StepName, StepState>> = {};
        for (const [index, step] of begun.entries()) {
          steps[step] = partly && index === begun.length - 1 ? 'intended' : 'done';
        }
        const undone: StepName[] = [];
        for (;;) {
          const next = nextStep(progress(steps, { request: asked, goal: 'back' }));
          if (next.kind === 'finish') {
            expect([next.outcome, undone]).toEqual(['rolled-back', begun.toReversed()]);
            return;
          }
          expect(next.kind).toBe('undo');
          // Undoing may be interrupted any number of times: it is repeated.
          steps[next.step] = 'undoing';
          expect(nextStep(progress(steps, { request: asked, goal: 'back' }))).toEqual(next);
          steps[next.step] = 'undone';
          undone.push(next.step);
        }
      }),
    );
  });
});
