import type { OptionDefinition } from './option-list.ts';

/** What a command is called and takes. This file imports nothing that runs, so that help is quick. */
export interface CommandUsage {
  readonly name: string;
  readonly summary: string;
  /** In the order in which arguments that stand alone fill them. */
  readonly options: readonly OptionDefinition[];
}

function flag(name: string, help: string): OptionDefinition {
  return { name, type: 'flag', help };
}

function text(name: string, help: string): OptionDefinition {
  return { name, type: 'text', help };
}

const DOMAIN: OptionDefinition = { name: 'domain', type: 'required', help: 'name or UUID of the VM' };
const NAME = text('snapshotname', 'the snapshot');
const CURRENT = flag('current', 'the current snapshot');
const SECURITY_INFO = flag('security-info', "with the secrets of the VM's description");

const CREATE_FLAGS: readonly OptionDefinition[] = [
  flag('no-metadata', 'take the snapshot, but keep no metadata'),
  flag('halt', 'halt the VM after the snapshot'),
  flag('disk-only', 'the disks, not the state of the VM'),
  flag('reuse-external', 'use files that were prepared'),
  flag('quiesce', "quiesce the guest's file systems"),
  flag('atomic', 'all disks at one instant, or none'),
  flag('live', 'take a live snapshot'),
  flag('validate', 'check the XML against the schema'),
];

/** virsh's commands about snapshots; `--mirrored`, `--mirror-pivot` and `--mirror-abort` are blockferry's own. */
export const SNAPSHOT_USAGE: readonly CommandUsage[] = [
  {
    name: 'snapshot-create',
    summary: 'Create a snapshot from XML.',
    options: [
      DOMAIN,
      text('xmlfile', 'file with the <domainsnapshot>; default: an empty one'),
      flag('redefine', 'put back the metadata of a snapshot'),
      flag('current', 'with --redefine: make it the current one'),
      ...CREATE_FLAGS,
    ],
  },
  {
    name: 'snapshot-create-as',
    summary: 'Create a snapshot from arguments.',
    options: [
      DOMAIN,
      text('name', 'its name; default: the time, in seconds since 1970'),
      text('description', 'its description'),
      flag('print-xml', 'print the XML instead of creating'),
      ...CREATE_FLAGS,
      { ...text('memspec', 'the memory: [file=]NAME[,snapshot=TYPE]'), onlyNamed: true },
      {
        name: 'diskspec',
        type: 'list',
        help: 'a disk: DISK[,snapshot=TYPE][,driver=TYPE][,stype=TYPE][,file=NAME][,mirror=NAME]; repeatable',
      },
    ],
  },
  {
    name: 'snapshot-list',
    summary: 'List the snapshots of a VM.',
    options: [
      DOMAIN,
      flag('parent', 'add a column with the parent'),
      flag('roots', 'only snapshots without parent'),
      flag('leaves', 'only snapshots without children'),
      flag('no-leaves', 'only snapshots with children'),
      flag('metadata', 'only those with metadata'),
      flag('no-metadata', 'only those without metadata'),
      flag('inactive', 'only those taken while the VM was off'),
      flag('active', 'only those taken of a running VM with its state'),
      flag('disk-only', 'only those of the disks of a running VM'),
      flag('internal', 'only those inside of the images'),
      flag('external', 'only those with files of their own'),
      flag('tree', 'as a tree'),
      text('from', 'only the children of this snapshot'),
      flag('current', 'only the children of the current snapshot'),
      flag('descendants', 'with --from or --current: all below it'),
      flag('name', 'names only'),
      flag('topological', 'parents before children instead of by name'),
      flag('mirrored', 'only mirrored ones, with a column that tells how the mirrors stand'),
    ],
  },
  { name: 'snapshot-info', summary: 'Show how a snapshot stands.', options: [DOMAIN, NAME, CURRENT] },
  {
    name: 'snapshot-dumpxml',
    summary: 'Print the XML of a snapshot.',
    options: [
      DOMAIN,
      { ...NAME, type: 'required' },
      SECURITY_INFO,
      { ...text('xpath', 'only the nodes that this XPath expression finds'), onlyNamed: true },
      flag('wrap', 'with --xpath: put them below a common root element'),
    ],
  },
  {
    name: 'snapshot-parent',
    summary: 'Print the name of the parent of a snapshot.',
    options: [DOMAIN, NAME, CURRENT],
  },
  {
    name: 'snapshot-current',
    summary: 'Print the current snapshot, or make one current.',
    options: [
      DOMAIN,
      flag('name', 'its name instead of its XML'),
      SECURITY_INFO,
      text('snapshotname', 'make this snapshot current'),
    ],
  },
  {
    name: 'snapshot-delete',
    summary: 'Delete a snapshot.',
    options: [
      DOMAIN,
      NAME,
      CURRENT,
      flag('children', 'the snapshot and all below it'),
      flag('children-only', 'only what is below it'),
      flag('metadata', 'only the metadata; files stay as they are'),
      flag('mirror-pivot', 'end the mirroring: the VM goes over to the mirrors'),
      flag('mirror-abort', 'end the mirroring: the VM stays where it is'),
    ],
  },
  {
    name: 'snapshot-revert',
    summary: 'Bring a VM back to a snapshot.',
    options: [
      DOMAIN,
      NAME,
      CURRENT,
      flag('running', 'the VM runs afterwards'),
      flag('paused', 'the VM is paused afterwards'),
      flag('force', 'also where the revert is risky'),
      flag('reset-nvram', 'make the NVRAM anew from its template'),
    ],
  },
  {
    name: 'snapshot-edit',
    summary: 'Edit the XML of a snapshot.',
    options: [
      DOMAIN,
      NAME,
      flag('current', 'make it current; alone: the current snapshot'),
      flag('rename', 'the name may be changed: the old one goes'),
      flag('clone', 'the name may be changed: the old one stays'),
    ],
  },
];

/** The lines of a command's help about virsh's options. */
export function usageLines({ options }: CommandUsage): string {
  const heads = options.map(({ name, type }) =>
    type === 'flag' ? `--${name}` : `--${name} <${type === 'list' ? 'SPEC' : 'TEXT'}>`,
  );
  const width = Math.max(...heads.map((head) => head.length));
  const lines = options.map(({ help }, index) => `  ${(heads[index] ?? '').padEnd(width)}  ${help}`);
  return ['', 'What stands alone fills the options that take a value, in this order:', ...lines].join('\n');
}
