import { XmlWriter } from '../xml/writer.ts';
import { parseDiskSpec, writeDiskSpec } from './disk-spec.ts';
import { parseMemSpec, writeMemSpec } from './mem-spec.ts';

/** The arguments of `snapshot-create-as` that make up the document. */
export interface CreateAsArguments {
  readonly name?: string;
  readonly description?: string;
  readonly memspec?: string;
  readonly diskspecs?: readonly string[];
}

/**
 * The `<domainsnapshot>` that `snapshot-create-as --print-xml` prints for its arguments.
 * @throws FerryError BAD_MEMSPEC, BAD_DISKSPEC
 */
export function createAsXml(args: CreateAsArguments): string {
  const memory = args.memspec === undefined ? undefined : parseMemSpec(args.memspec);
  const disks = (args.diskspecs ?? []).map(parseDiskSpec);
  const writer = new XmlWriter();
  writer.open('domainsnapshot', [], () => {
    writer.text('name', args.name);
    writer.text('description', args.description);
    if (memory !== undefined) writeMemSpec(writer, memory);
    if (disks.length === 0) return;
    writer.open('disks', [], () => {
      for (const disk of disks) writeDiskSpec(writer, disk);
    });
  });
  return writer.toString();
}
