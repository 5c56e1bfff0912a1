import type { Survey } from './survey.ts';

/**
 * A survey of a VM with what stands in the way of moving its disks: snapshots that blockferry keeps for it. They name the
 * present files, as libvirt's do, and would be left pointing at nothing.
 */
export function withKeptSnapshots(survey: Survey, kept: readonly { readonly name: string }[]): Survey {
  const [first, ...more] = kept.map(({ name }) => `'${name}'`);
  if (first === undefined) return survey;
  const { inventory } = survey;
  const what =
    more.length === 0
      ? `blockferry keeps the snapshot ${first}, which names its files`
      : `blockferry keeps the snapshots ${[first, ...more].join(', ')}, which name its files`;
  return { ...survey, inventory: { ...inventory, obstacles: [...(inventory.obstacles ?? []), what] } };
}
