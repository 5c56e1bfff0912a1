import type { SnapshotDomain } from '../snapshot-driver.ts';
import type { CommandContext } from './command.ts';
import type { CommandOptions } from './option-list.ts';
import { VirshError } from './virsh-error.ts';

/** The domain that a command is about. @throws VirshError there is none */
export async function domainOf({ host }: CommandContext, options: CommandOptions): Promise<SnapshotDomain> {
  const wanted = options.required('domain');
  const domain = await host.domain(wanted);
  if (domain === undefined) throw new VirshError(`failed to get domain '${wanted}'`);
  return domain;
}

/**
 * The snapshot that a command is about: that of the option, or the current one.
 * @param exclusive whether the two may not be given together
 * @throws VirshError neither was given, or both; what the driver throws when there is none
 */
export async function snapshotOf(
  domain: SnapshotDomain,
  options: CommandOptions,
  option: 'snapshotname' | 'from' = 'snapshotname',
  exclusive = true,
): Promise<string> {
  const name = options.text(option);
  const current = options.has('current');
  if (exclusive && current && name !== undefined) {
    throw new VirshError(`--${option} and --current are mutually exclusive`);
  }
  if (name !== undefined) {
    await domain.find(name);
    return name;
  }
  if (!current) throw new VirshError(`--${option} or --current is required`);
  return await domain.current();
}
