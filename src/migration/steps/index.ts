import type { StepName } from '../step-name.ts';
import { attach } from './attach.ts';
import { clean } from './clean.ts';
import { copy } from './copy.ts';
import { fold } from './fold.ts';
import { mirror } from './mirror.ts';
import { pivot } from './pivot.ts';
import { prepare } from './prepare.ts';
import { snapshot } from './snapshot.ts';
import type { Step } from './step.ts';
import { verify } from './verify.ts';

export type StepTable = { readonly [name in StepName]: Step };

/** Every step by its name. */
export const STEP: StepTable = {
  prepare,
  snapshot,
  mirror,
  copy,
  verify,
  attach,
  pivot,
  fold,
  clean,
};
