import type { FerryError } from '../../base/index.ts';

/** One reason why a plan is refused. */
export interface Refusal {
  readonly code: string;
  readonly message: string;
  readonly remedy: string;
}

/** The single reasons of PLAN_REFUSED; empty for every other error. */
export function refusalsOf(error: FerryError): readonly Refusal[] {
  const { refusals } = error.details;
  return error.code === 'PLAN_REFUSED' && Array.isArray(refusals) ? (refusals as Refusal[]) : [];
}
