import type { FerryError } from '../../base/index.ts';

/** One reason why a plan is refused. */
export interface Refusal {
  readonly code: string;
  readonly message: string;
  readonly remedy: string;
}

/** The single reasons of PLAN_REFUSED and SNAPSHOT_REFUSED; empty for every other error. */
export function refusalsOf(error: FerryError): readonly Refusal[] {
  const { refusals } = error.details;
  const refused = ['PLAN_REFUSED', 'SNAPSHOT_REFUSED'].includes(error.code);
  return refused && Array.isArray(refusals) ? (refusals as Refusal[]) : [];
}
