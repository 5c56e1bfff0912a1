import {
  type CreateFlag,
  type DeleteFlag,
  libvirtCodeOf,
  type RevertFlag,
  type SnapshotDomain,
} from '../snapshot-driver.ts';
import type { Command } from './command.ts';
import { diskOnlyFlag } from './look.ts';
import { DOMAIN_OPTION, domainOf, snapshotOf } from './lookup.ts';
import type { CommandOptions, OptionDefinition } from './option-list.ts';
import { errorLinesOf, VirshError } from './virsh-error.ts';

const SNAPSHOT_NAME: OptionDefinition = { name: 'snapshotname', type: 'text', help: 'the snapshot' };

const DELETE_FLAGS: readonly (readonly [DeleteFlag, OptionDefinition])[] = [
  ['CHILDREN', { name: 'children', type: 'flag', help: 'the snapshot and all below it' }],
  ['CHILDREN_ONLY', { name: 'children-only', type: 'flag', help: 'only what is below it' }],
  ['METADATA_ONLY', { name: 'metadata', type: 'flag', help: 'only the metadata; files stay as they are' }],
  ['MIRROR_PIVOT', { name: 'mirror-pivot', type: 'flag', help: 'end the mirroring: the VM goes over to the mirrors' }],
  ['MIRROR_ABORT', { name: 'mirror-abort', type: 'flag', help: 'end the mirroring: the VM stays where it is' }],
];

const REVERT_FLAGS: readonly (readonly [RevertFlag, OptionDefinition])[] = [
  ['RUNNING', { name: 'running', type: 'flag', help: 'the VM runs afterwards' }],
  ['PAUSED', { name: 'paused', type: 'flag', help: 'the VM is paused afterwards' }],
  ['RESET_NVRAM', { name: 'reset-nvram', type: 'flag', help: 'make the NVRAM anew from its template' }],
];

/** The flags whose options were given. */
function given<Flag>(table: readonly (readonly [Flag, OptionDefinition])[], options: CommandOptions): Flag[] {
  return table.filter(([, { name }]) => options.has(name)).map(([flag]) => flag);
}

/** `snapshot-delete`. */
export const snapshotDelete: Command = {
  name: 'snapshot-delete',
  summary: 'Delete a snapshot.',
  options: [
    DOMAIN_OPTION,
    SNAPSHOT_NAME,
    { name: 'current', type: 'flag', help: 'the current snapshot' },
    ...DELETE_FLAGS.map(([, option]) => option),
  ],

  async run(context, options) {
    options.exclude('mirror-pivot', 'mirror-abort');
    const flags = given(DELETE_FLAGS, options);
    const domain = await domainOf(context, options);
    const name = await snapshotOf(domain, options);
    await failing(`Failed to delete snapshot ${name}`, domain.delete(name, flags));
    return `Domain snapshot ${name}${flags.includes('CHILDREN_ONLY') ? ' children' : ''} deleted\n`;
  },
};

/** `snapshot-revert`. */
export const snapshotRevert: Command = {
  name: 'snapshot-revert',
  summary: 'Bring a VM back to a snapshot.',
  options: [
    DOMAIN_OPTION,
    SNAPSHOT_NAME,
    { name: 'current', type: 'flag', help: 'the current snapshot' },
    ...REVERT_FLAGS.map(([, option]) => option),
    { name: 'force', type: 'flag', help: 'also where the revert is risky' },
  ],

  async run(context, options) {
    const flags = given(REVERT_FLAGS, options);
    const domain = await domainOf(context, options);
    const name = await snapshotOf(domain, options);
    await failing(`Failed to revert snapshot ${name}`, revert(domain, name, flags, options.has('force')));
    return `Domain snapshot ${name} reverted\n`;
  },
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
    throw new VirshError(what, ...errorLinesOf(error));
  }
}

/** `snapshot-edit`. */
export const snapshotEdit: Command = {
  name: 'snapshot-edit',
  summary: 'Edit the XML of a snapshot.',
  options: [
    DOMAIN_OPTION,
    SNAPSHOT_NAME,
    { name: 'current', type: 'flag', help: 'make it current; alone: the current snapshot' },
    { name: 'rename', type: 'flag', help: 'the name may be changed: the old one goes' },
    { name: 'clone', type: 'flag', help: 'the name may be changed: the old one stays' },
  ],

  async run(context, options) {
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
      throw new VirshError(...(error instanceof VirshError ? [...lines, said] : [said, ...lines]));
    }
  },
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
    throw new VirshError(...errorLinesOf(error), `Failed to clean up ${unwanted}`);
  }
  if (!rename) throw new VirshError(`Must use --rename or --clone to change ${name} to ${after}`);
  return '';
}
