import { readFile } from 'node:fs/promises';
import { resolve } from 'node:path';
import { errnoOf, isFerryError } from '../../base/index.ts';
import { createAsXml } from '../../domainsnapshot/index.ts';
import { type CreateFlag, libvirtCodeOf, type SnapshotDomain } from '../snapshot-driver.ts';
import type { Command, CommandContext } from './command.ts';
import { domainOf, DOMAIN_OPTION } from './lookup.ts';
import type { CommandOptions, OptionDefinition } from './option-list.ts';
import { VirshError } from './virsh-error.ts';

const FLAGS: readonly (readonly [CreateFlag, OptionDefinition])[] = [
  ['NO_METADATA', { name: 'no-metadata', type: 'flag', help: 'take the snapshot, but keep no metadata' }],
  ['HALT', { name: 'halt', type: 'flag', help: 'halt the domain after the snapshot' }],
  ['DISK_ONLY', { name: 'disk-only', type: 'flag', help: 'the disks, not the state of the VM' }],
  ['REUSE_EXT', { name: 'reuse-external', type: 'flag', help: 'use files that were prepared' }],
  ['QUIESCE', { name: 'quiesce', type: 'flag', help: "quiesce the guest's file systems" }],
  ['ATOMIC', { name: 'atomic', type: 'flag', help: 'all disks at one instant, or none' }],
  ['LIVE', { name: 'live', type: 'flag', help: 'take a live snapshot' }],
  ['VALIDATE', { name: 'validate', type: 'flag', help: 'check the XML against the schema' }],
];

function flagsOf(options: CommandOptions): CreateFlag[] {
  return FLAGS.filter(([, { name }]) => options.has(name)).map(([flag]) => flag);
}

/** `snapshot-create`: a snapshot as an XML document says. */
export const snapshotCreate: Command = {
  name: 'snapshot-create',
  summary: 'Create a snapshot from XML.',
  options: [
    DOMAIN_OPTION,
    { name: 'xmlfile', type: 'text', help: 'file with the <domainsnapshot>; default: an empty one' },
    { name: 'redefine', type: 'flag', help: 'put back the metadata of an existing snapshot' },
    { name: 'current', type: 'flag', help: 'with --redefine: make it the current one' },
    ...FLAGS.map(([, option]) => option),
  ],

  async run(context, options) {
    const flags = flagsOf(options);
    if (options.has('redefine')) flags.unshift('REDEFINE');
    if (options.has('current')) flags.unshift('CURRENT');
    const domain = await domainOf(context, options);
    const from = options.text('xmlfile');
    const xml = from === undefined ? '<domainsnapshot/>' : await readDocument(context, from);
    return await create(domain, xml, flags, from);
  },
};

/** `snapshot-create-as`: a snapshot as the arguments say. */
export const snapshotCreateAs: Command = {
  name: 'snapshot-create-as',
  summary: 'Create a snapshot from arguments.',
  options: [
    DOMAIN_OPTION,
    { name: 'name', type: 'text', help: 'its name; default: the time, in seconds since 1970' },
    { name: 'description', type: 'text', help: 'its description' },
    { name: 'print-xml', type: 'flag', help: 'print the XML instead of creating' },
    ...FLAGS.map(([, option]) => option),
    { name: 'memspec', type: 'text', onlyNamed: true, help: 'the memory: [file=]NAME[,snapshot=TYPE]' },
    {
      name: 'diskspec',
      type: 'list',
      help: 'a disk: DISK[,snapshot=TYPE][,driver=TYPE][,stype=TYPE][,file=NAME][,mirror=NAME]; repeatable',
    },
  ],

  async run(context, options) {
    const flags = flagsOf(options);
    const domain = await domainOf(context, options);
    const name = options.text('name');
    const description = options.text('description');
    const memspec = options.text('memspec');
    const xml = document({
      ...(name === undefined ? {} : { name }),
      ...(description === undefined ? {} : { description }),
      ...(memspec === undefined ? {} : { memspec }),
      diskspecs: options.list('diskspec'),
    });
    if (options.has('print-xml')) return `${xml}\n`;
    return await create(domain, xml, flags);
  },
};

/** The document, or virsh's two lines for a storage type that is none. */
function document(args: Parameters<typeof createAsXml>[0]): string {
  try {
    return createAsXml(args);
  } catch (error) {
    if (!isFerryError(error, 'BAD_DISKSPEC', 'BAD_MEMSPEC')) throw error;
    const reason = String(error.fields['reason']);
    const wrong = reason.startsWith('Unknown storage type')
      ? (args.diskspecs ?? []).find((spec) => /,stype=(?!file(?:,|$)|block(?:,|$))/.test(spec))
      : undefined;
    throw new VirshError(reason, ...(wrong === undefined ? [] : [`unable to parse diskspec: ${wrong}`]));
  }
}

async function readDocument({ cwd }: CommandContext, path: string): Promise<string> {
  try {
    return await readFile(resolve(cwd, path), 'utf8');
  } catch (error) {
    const errno = errnoOf(error);
    if (errno === undefined) throw error;
    throw new VirshError(`Failed to open file '${path}': ${ERRNO_TEXT[errno] ?? errno}`);
  }
}

const ERRNO_TEXT: Readonly<Record<string, string>> = {
  ENOENT: 'No such file or directory',
  EACCES: 'Permission denied',
  EISDIR: 'Is a directory',
};

async function create(
  domain: SnapshotDomain,
  xml: string,
  flags: readonly CreateFlag[],
  from?: string,
): Promise<string> {
  const name = await createOrHalt(domain, xml, flags);
  return `Domain snapshot ${name} created${from === undefined ? '' : ` from '${from}'`}`;
}

/**
 * Creates, and stands in for `HALT` as virsh does: it takes any VIR_ERR_INVALID_ARG for a server that does not know the
 * flag, tries without it, and then pulls the plug itself.
 */
async function createOrHalt(domain: SnapshotDomain, xml: string, flags: readonly CreateFlag[]): Promise<string> {
  try {
    return await domain.create(xml, flags);
  } catch (error) {
    if (!flags.includes('HALT') || libvirtCodeOf(error) !== 'VIR_ERR_INVALID_ARG') throw error;
    if (!(await domain.isPersistent())) throw new VirshError('cannot halt after snapshot of transient domain');
    const active = await domain.isActive();
    const name = await domain.create(
      xml,
      flags.filter((flag) => flag !== 'HALT'),
    );
    if (active) await domain.destroy();
    return name;
  }
}
