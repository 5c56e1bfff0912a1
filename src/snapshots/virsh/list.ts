import { type ListFlag, summarizeSnapshot } from '../../domainsnapshot/index.ts';
import type { SnapshotDomain } from '../snapshot-driver.ts';
import type { Command } from './command.ts';
import { domainOf, snapshotOf } from './lookup.ts';
import type { CommandOptions } from './option-list.ts';
import { virshTable } from './table.ts';
import { treeLines } from './tree-lines.ts';
import { VirshError } from './virsh-error.ts';

const EXCLUSIVE = [
  ['tree', 'name'],
  ['parent', 'roots'],
  ['parent', 'tree'],
  ['roots', 'tree'],
  ['roots', 'from'],
  ['roots', 'current'],
] as const;

/** Filters that a tree cannot have: what is above a snapshot that passes might not be in the list. */
const TREELESS: readonly (readonly [ListFlag, string])[] = [
  ['LEAVES', 'leaves'],
  ['NO_LEAVES', 'no-leaves'],
  ['INACTIVE', 'inactive'],
  ['ACTIVE', 'active'],
  ['DISK_ONLY', 'disk-only'],
  ['INTERNAL', 'internal'],
  ['EXTERNAL', 'external'],
];

const OTHERS: readonly (readonly [ListFlag, string])[] = [
  ['TOPOLOGICAL', 'topological'],
  ['ROOTS', 'roots'],
  ['METADATA', 'metadata'],
  ['NO_METADATA', 'no-metadata'],
  ['DESCENDANTS', 'descendants'],
];

/** `snapshot-list`. */
export const snapshotList: Command = async (context, options) => {
  for (const [first, second] of EXCLUSIVE) options.exclude(first, second);
  const flags = flagsOf(options);
  const domain = await domainOf(context, options);
  const below = options.has('from') || options.has('current');
  const from = below ? await snapshotOf(domain, options, 'from') : undefined;
  const listed = await domain.list(flags, from);
  const wanted = options.has('mirrored') ? await mirroredOf(domain, listed) : listed;
  const names = options.has('topological') ? wanted : byName(wanted);
  if (options.has('tree')) return await tree(domain, names, from);
  if (options.has('name')) return await nameLines(domain, names, options.has('parent'));
  return await table(domain, names, options);
};

function flagsOf(options: CommandOptions): ListFlag[] {
  const flags: ListFlag[] = [];
  for (const [flag, name] of TREELESS) {
    if (!options.has(name)) continue;
    if (options.has('tree')) throw new VirshError(`--${name} and --tree are mutually exclusive`);
    flags.push(flag);
  }
  flags.push(...OTHERS.filter(([, name]) => options.has(name)).map(([flag]) => flag));
  if (options.has('descendants') && !options.has('from') && !options.has('current')) {
    throw new VirshError('--descendants requires either --from or --current');
  }
  return flags;
}

/** C's `strcasecmp`: by bytes, with ASCII's capitals taken for small letters. */
function byName(names: readonly string[]): readonly string[] {
  return names.toSorted((a, b) => Buffer.compare(sortKey(a), sortKey(b)));
}

function sortKey(name: string): Buffer {
  return Buffer.from(name.replaceAll(/[A-Z]/g, (letter) => letter.toLowerCase()));
}

async function mirroredOf(domain: SnapshotDomain, names: readonly string[]): Promise<readonly string[]> {
  const found: string[] = [];
  for (const name of names) if ((await domain.mirror(name)) !== undefined) found.push(name);
  return found;
}

/** With `--from` or `--current` that snapshot is the root, and only its children are drawn, as virsh does. */
async function tree(domain: SnapshotDomain, names: readonly string[], from: string | undefined): Promise<string> {
  const nodes = [];
  for (const name of names) nodes.push({ name, parent: await domain.parent(name) });
  return treeLines(from === undefined ? nodes : [...nodes, { name: from }]);
}

async function nameLines(domain: SnapshotDomain, names: readonly string[], parents: boolean): Promise<string> {
  let text = '';
  for (const name of names) text += parents ? `${name}\t${(await domain.parent(name)) ?? ''}\n` : `${name}\n`;
  return text;
}

/** A snapshot whose time or state is not known is left out, as virsh does. */
async function table(domain: SnapshotDomain, names: readonly string[], options: CommandOptions): Promise<string> {
  const parents = options.has('parent');
  const mirrors = options.has('mirrored');
  const header = ['Name', 'Creation Time', 'State', ...(parents ? ['Parent'] : []), ...(mirrors ? ['Mirror'] : [])];
  const rows: string[][] = [];
  for (const name of names) {
    const { state, creationTime, parent = '' } = summarizeSnapshot(await domain.describe(name));
    if (state === undefined || creationTime === undefined) continue;
    const mirror = mirrors ? [(await domain.mirror(name))?.state ?? ''] : [];
    rows.push([name, localTime(creationTime), state, ...(parents ? [parent] : []), ...mirror]);
  }
  return virshTable(header, rows);
}

function two(value: number): string {
  return String(Math.abs(value)).padStart(2, '0');
}

/** Seconds since 1970 in local time: `2010-05-03 20:13:51 +0000`. */
function localTime(seconds: bigint): string {
  const date = new Date(Number(seconds) * 1000);
  const east = -date.getTimezoneOffset();
  const zone = `${east < 0 ? '-' : '+'}${two(Math.trunc(east / 60))}${two(east % 60)}`;
  const day = [String(date.getFullYear()), two(date.getMonth() + 1), two(date.getDate())].join('-');
  return `${day} ${[date.getHours(), date.getMinutes(), date.getSeconds()].map(two).join(':')} ${zone}`;
}
