/** The steps of a migration in their order. `pivot` is the point of no return. */
export const STEPS = ['prepare', 'snapshot', 'mirror', 'copy', 'verify', 'attach', 'pivot', 'fold', 'clean'] as const;

export type StepName = (typeof STEPS)[number];

export function isStepName(name: string): name is StepName {
  return (STEPS as readonly string[]).includes(name);
}
