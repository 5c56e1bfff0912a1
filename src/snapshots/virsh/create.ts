import { readFile } from 'node:fs/promises';
import { resolve } from 'node:path';
import { errnoOf, isFerryError } from '../../base/index.ts';
import { createAsXml } from '../../domainsnapshot/index.ts';
import { type CreateFlag, libvirtCodeOf, type SnapshotDomain } from '../snapshot-driver.ts';
import type { Command, CommandContext } from './command.ts';
import { domainOf } from './lookup.ts';
import type { CommandOptions } from './option-list.ts';
import { VirshError } from './virsh-error.ts';

const FLAGS: readonly (readonly [CreateFlag, string])[] = [
  ['NO_METADATA', 'no-metadata'],
  ['HALT', 'halt'],
  ['DISK_ONLY', 'disk-only'],
  ['REUSE_EXT', 'reuse-external'],
  ['QUIESCE', 'quiesce'],
  ['ATOMIC', 'atomic'],
  ['LIVE', 'live'],
  ['VALIDATE', 'validate'],
];

function flagsOf(options: CommandOptions): CreateFlag[] {
  return FLAGS.filter(([, name]) => options.has(name)).map(([flag]) => flag);
}

/** `snapshot-create`: a snapshot as an XML document says. */
export const snapshotCreate: Command = async (context, options) => {
  const flags = flagsOf(options);
  if (options.has('redefine')) flags.unshift('REDEFINE');
  if (options.has('current')) flags.unshift('CURRENT');
  const domain = await domainOf(context, options);
  const from = options.text('xmlfile');
  const xml = from === undefined ? '<domainsnapshot/>' : await readDocument(context, from);
  return await create(domain, xml, flags, from);
};

/** `snapshot-create-as`: a snapshot as the arguments say. */
export const snapshotCreateAs: Command = async (context, options) => {
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
