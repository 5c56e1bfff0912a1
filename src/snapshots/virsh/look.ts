import { selectNodes, summarizeSnapshot, wrapNodes } from '../../domainsnapshot/index.ts';
import type { CreateFlag, SnapshotDomain } from '../snapshot-driver.ts';
import type { Command } from './command.ts';
import { domainOf, snapshotOf } from './lookup.ts';
import { VirshError } from './virsh-error.ts';

/** `snapshot-info`. */
export const snapshotInfo: Command = async (context, options) => {
  const domain = await domainOf(context, options);
  const name = await snapshotOf(domain, options);
  const current = await domain.isCurrent(name);
  const { state, parent, external } = summarizeSnapshot(await domain.describe(name));
  if (state === undefined) throw new VirshError('unexpected problem reading snapshot xml');
  const mirror = await domain.mirror(name);
  const lines: readonly (readonly [string, string | number])[] = [
    ['Name', name],
    ['Domain', domain.name],
    ['Current', yesNo(current)],
    ['State', state],
    ['Location', external ? 'external' : 'internal'],
    ['Parent', parent ?? '-'],
    ['Children', (await domain.list([], name)).length],
    ['Descendants', (await domain.list(['DESCENDANTS'], name)).length],
    ['Metadata', yesNo(await domain.hasMetadata(name))],
    ...(mirror === undefined ? [] : [['Mirror', mirror.state] as const]),
    ...(mirror?.advice === undefined ? [] : [['', mirror.advice] as const]),
  ];
  return lines.map(([title, value]) => `${(title && `${title}:`).padEnd(15)} ${value}\n`).join('');
};

function yesNo(value: boolean): string {
  return value ? 'yes' : 'no';
}

/** `snapshot-dumpxml`. */
export const snapshotDumpxml: Command = async (context, options) => {
  // In this order, which decides which of two empty ones is said to be.
  const name = options.required('snapshotname');
  const domain = await domainOf(context, options);
  await domain.find(name);
  const xml = await domain.describe(name, { secure: options.has('security-info') });
  const xpath = options.text('xpath');
  if (xpath === undefined) return xml;
  const nodes = selectNodes(xml, xpath);
  if (options.has('wrap')) return `${wrapNodes(nodes)}\n`;
  return nodes.map((node) => `${node}\n`).join('');
};

/** `snapshot-parent`. */
export const snapshotParent: Command = async (context, options) => {
  const domain = await domainOf(context, options);
  const name = await snapshotOf(domain, options);
  const parent = await domain.parent(name);
  if (parent === undefined) throw new VirshError(`snapshot '${name}' has no parent`);
  return parent;
};

/** `snapshot-current`: prints the current snapshot, or makes one current. */
export const snapshotCurrent: Command = async (context, options) => {
  options.exclude('name', 'snapshotname');
  const domain = await domainOf(context, options);
  const wanted = options.text('snapshotname');
  if (wanted !== undefined) return await makeCurrent(domain, wanted);
  if (!(await domain.hasCurrent()))
    throw new VirshError(`domain '${options.required('domain')}' has no current snapshot`);
  const name = await domain.current();
  if (options.has('name')) return name;
  return await domain.describe(name, { secure: options.has('security-info') });
};

/** Redefines it as what it is, and as current. */
async function makeCurrent(domain: SnapshotDomain, name: string): Promise<string> {
  await domain.find(name);
  const xml = await domain.describe(name, { secure: true });
  await domain.create(xml, ['REDEFINE', 'CURRENT', ...diskOnlyFlag(xml)]);
  return `Snapshot ${name} set as current`;
}

/** `DISK_ONLY`, which redefining a snapshot of that state needs. */
export function diskOnlyFlag(xml: string): CreateFlag[] {
  return xml.includes('<state>disk-snapshot</state>') ? ['DISK_ONLY'] : [];
}
