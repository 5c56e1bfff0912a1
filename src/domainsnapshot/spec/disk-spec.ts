import { ferryError } from '../../base/index.ts';
import { XmlWriter } from '../xml/writer.ts';
import { readKeys, splitCommas } from './comma-list.ts';

const KEYS = ['snapshot', 'driver', 'stype', 'file', 'mirror'] as const;

/** What `--diskspec` of `snapshot-create-as` says of one disk. */
export interface DiskSpec {
  readonly name: string;
  readonly snapshot?: string;
  readonly driver?: string;
  /** Type of the source: `file` (default) or `block`. */
  readonly stype?: string;
  readonly file?: string;
  /** Absolute path of the mirror; not known to virsh. */
  readonly mirror?: string;
}

/**
 * Reads a diskspec: the disk's name, then `snapshot=`, `driver=`, `stype=`, `file=`, `mirror=`, each at most once;
 * `,,` is a comma in a value. An empty one is refused, of which virsh makes broken XML.
 * @throws FerryError BAD_DISKSPEC, with virsh's words.
 */
export function parseDiskSpec(text: string): DiskSpec {
  const [name = '', ...rest] = splitCommas(text);
  const keys = readKeys(rest, KEYS);
  if (text === '' || keys === undefined)
    throw ferryError('BAD_DISKSPEC', { reason: `unable to parse diskspec: ${text}` });
  if (keys.stype !== undefined && keys.stype !== 'file' && keys.stype !== 'block') {
    throw ferryError('BAD_DISKSPEC', { reason: `Unknown storage type: '${keys.stype}'` });
  }
  return { name, ...keys };
}

/** Writes the `<disk>`, as virsh does, but with every value escaped; the mirror comes after the source. */
export function writeDiskSpec(writer: XmlWriter, spec: DiskSpec): void {
  writer.element(
    'disk',
    [
      ['name', spec.name],
      ['snapshot', spec.snapshot],
      ['type', spec.stype],
    ],
    () => {
      writer.element('driver', [['type', spec.driver]]);
      writer.element('source', [[spec.stype === 'block' ? 'dev' : 'file', spec.file]]);
      writer.element('mirror', [['file', spec.mirror]]);
    },
  );
}
