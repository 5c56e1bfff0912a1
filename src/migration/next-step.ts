import type { MigrationRequest } from './plan/request.ts';
import { STEPS, type StepName } from './step-name.ts';

/** What the journal says of a step; a step that it does not name was never begun. */
export type StepState = 'intended' | 'done' | 'undoing' | 'undone';

/** What the journal knows of a migration: all that a decision rests on. */
export interface Progress {
  readonly steps: ReadonlyMap<StepName, StepState>;
  /** Whether the commit record of the pivot is written (and not void). */
  readonly committed: boolean;
  /** Where the user, or a failure, wants it to go. After the commit record it is always forward. */
  readonly goal: 'forward' | 'back';
  readonly request: Pick<MigrationRequest, 'verify' | 'fold' | 'snapshot'>;
  /** Whether the chain has to be on the target before the mirrors start. Default: false. */
  readonly mirrorLast?: boolean;
}

export type NextStep =
  | { readonly kind: 'do'; readonly step: StepName }
  | { readonly kind: 'undo'; readonly step: StepName }
  | { readonly kind: 'finish'; readonly outcome: 'done' | 'rolled-back' };

/** The steps that a request asks for, in their order. What its user copies comes after the mirrors, wherever they stand. */
export function stepsOf(request: Progress['request'], mirrorLast = false): readonly StepName[] {
  const { verify, fold, snapshot } = request;
  // The chain of a mirrored snapshot is copied by its user.
  const wanted: Partial<Record<StepName, boolean>> = { copy: snapshot === undefined, verify, fold };
  const steps = STEPS.filter((step) => wanted[step] ?? true);
  if (!mirrorLast || snapshot !== undefined) return steps;
  return steps.flatMap((step) => (step === 'mirror' ? [] : step === 'pivot' ? ['mirror', 'pivot'] : [step]));
}

/**
 * The crash rule of the protocol, and the only place that decides it: before the commit record the source is the truth
 * and every step can be undone, last one first; after it the target is, and what remains is done.
 */
export function nextStep({ steps, committed, goal, request, mirrorLast }: Progress): NextStep {
  const order = stepsOf(request, mirrorLast);
  if (goal === 'back' && !committed) {
    const begun = order.toReversed().find((step) => ![undefined, 'undone'].includes(steps.get(step)));
    return begun === undefined ? { kind: 'finish', outcome: 'rolled-back' } : { kind: 'undo', step: begun };
  }
  const open = order.find((step) => steps.get(step) !== 'done');
  return open === undefined ? { kind: 'finish', outcome: 'done' } : { kind: 'do', step: open };
}
