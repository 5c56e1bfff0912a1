import {
  type CreateFlag,
  type DeleteFlag,
  libvirtCodeOf,
  type RevertFlag,
  type SnapshotDomain,
} from '../snapshot-driver.ts';
import type { Command } from './command.ts';
import { diskOnlyFlag } from './look.ts';
import { domainOf, snapshotOf } from './lookup.ts';
import type { CommandOptions } from './option-list.ts';
import { errorLinesOf, VirshError } from './virsh-error.ts';

const DELETE_FLAGS: readonly (readonly [DeleteFlag, string])[] = [
  ['CHILDREN', 'children'],
  ['CHILDREN_ONLY', 'children-only'],
  ['METADATA_ONLY', 'metadata'],
  ['MIRROR_PIVOT', 'mirror-pivot'],
  ['MIRROR_ABORT', 'mirror-abort'],
];

const REVERT_FLAGS: readonly (readonly [RevertFlag, string])[] = [
  ['RUNNING', 'running'],
  ['PAUSED', 'paused'],
  ['RESET_NVRAM', 'reset-nvram'],
];

/** The flags whose options were given. */
function given<Flag>(table: readonly (readonly [Flag, string])[], options: CommandOptions): Flag[] {
  return table.filter(([, name]) => options.has(name)).map(([flag]) => flag);
}

/** `snapshot-delete`. */
export const snapshotDelete: Command = async (context, options) => {
  options.exclude('mirror-pivot', 'mirror-abort');
  const flags = given(DELETE_FLAGS, options);
  const domain = await domainOf(context, options);
  const name = await snapshotOf(domain, options);
  await failing(`Failed to delete snapshot ${name}`, domain.delete(name, flags));
  return `Domain snapshot ${name}${flags.includes('CHILDREN_ONLY') ? ' children' : ''} deleted\n`;
};

/** `snapshot-revert`. */
export const snapshotRevert: Command = async (context, options) => {
  const flags = given(REVERT_FLAGS, options);
  const domain = await domainOf(context, options);
  const name = await snapshotOf(domain, options);
  await failing(`Failed to revert snapshot ${name}`, revert(domain, name, flags, options.has('force')));
  return `Domain snapshot ${name} reverted\n`;
};

/** As virsh does, `FORCE` is used only where the answer was that it is needed. */
async function revert(
  domain: SnapshotDomain,
  name: string,
  flags: readonly RevertFlag[],
  force: boolean,
): Promise<void> {
  try {
    await domain.revert(name, flags);
  } catch (error) {
    if (!force || libvirtCodeOf(error) !== 'VIR_ERR_SNAPSHOT_REVERT_RISKY') throw error;
    await domain.revert(name, [...flags, 'FORCE']);
  }
}

async function failing(what: string, task: Promise<void>): Promise<void> {
  try {
    await task;
  } catch (error) {
    throw VirshError.because(error, what, ...errorLinesOf(error));
  }
}

/** `snapshot-edit`. */
export const snapshotEdit: Command = async (context, options) => {
  options.exclude('rename', 'clone');
  const domain = await domainOf(context, options);
  const name = await snapshotOf(domain, options, 'snapshotname', false);
  const xml = await domain.describe(name, { secure: true });
  const makeCurrent = options.has('current') && options.has('snapshotname');
  const flags: CreateFlag[] = ['REDEFINE', ...(makeCurrent ? (['CURRENT'] as const) : []), ...diskOnlyFlag(xml)];
  try {
    const edited = await context.edit(xml);
    if (edited === xml && !makeCurrent) return `Snapshot ${name} XML configuration not changed.\n`;
    return await redefine(domain, { name, edited, flags, options });
  } catch (error) {
    const lines = errorLinesOf(error);
    const said = `Failed to update ${name}`;
    // virsh tells a failure of its own at once, and libvirt's at the end, unless it had to clean up after it.
    const own = error instanceof VirshError;
    throw VirshError.because(own ? error.cause : error, ...(own ? [...lines, said] : [said, ...lines]));
  }
};

interface Edit {
  readonly name: string;
  readonly edited: string;
  readonly flags: readonly CreateFlag[];
  readonly options: CommandOptions;
}

async function redefine(domain: SnapshotDomain, { name, edited, flags, options }: Edit): Promise<string> {
  const after = await domain.create(edited, flags);
  if (after === name) return `Snapshot ${name} edited.\n`;
  if (options.has('clone')) return `Snapshot ${name} cloned to ${after}.\n`;
  const rename = options.has('rename');
  const unwanted = rename ? name : after;
  try {
    await domain.delete(unwanted, ['METADATA_ONLY']);
  } catch (error) {
    throw VirshError.because(error, ...errorLinesOf(error), `Failed to clean up ${unwanted}`);
  }
  if (!rename) throw new VirshError(`Must use --rename or --clone to change ${name} to ${after}`);
  return '';
}
