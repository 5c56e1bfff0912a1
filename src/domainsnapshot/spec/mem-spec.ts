import { ferryError } from '../../base/index.ts';
import type { XmlWriter } from '../xml/writer.ts';
import { readKeys, splitCommas } from './comma-list.ts';

/** What `--memspec` of `snapshot-create-as` says of the memory. */
export interface MemSpec {
  readonly snapshot?: string;
  readonly file?: string;
}

/**
 * Reads a memspec: `snapshot=…`, `file=…` or a path, each at most once; `,,` is a comma in a value.
 * @throws FerryError BAD_MEMSPEC, with virsh's words.
 */
export function parseMemSpec(text: string): MemSpec {
  const parts = splitCommas(text).map((part) => (part.startsWith('/') ? `file=${part}` : part));
  const keys = readKeys(parts, ['snapshot', 'file']);
  if (keys === undefined) throw ferryError('BAD_MEMSPEC', { reason: `unable to parse memspec: ${text}` });
  return keys;
}

/** Writes the `<memory>`. */
export function writeMemSpec(writer: XmlWriter, spec: MemSpec): void {
  writer.element('memory', [
    ['snapshot', spec.snapshot],
    ['file', spec.file],
  ]);
}
