import { ParseOption } from 'libxml2-wasm';
import { DomainSnapshotError } from '../errors.ts';
import { type Libxml2Result, parseWithLibxml2 } from './libxml2.ts';
import type { XmlElement } from './tree.ts';

/** libvirt takes no string longer than this over its protocol (`REMOTE_STRING_MAX`), so no document either. */
export const MAX_DOCUMENT_BYTES: number = 4 * 1024 * 1024;

/** The limits of what is read. */
export interface ReadOptions {
  /**
   * What to do with `<!DOCTYPE …>`. `refuse` (default): an error. `internal`: entities of the internal subset are
   * expanded within libxml2's limits, as libvirt does; nothing outside the document is ever loaded.
   */
  readonly doctype?: 'refuse' | 'internal';
  /** Longest document that is read, in bytes of UTF-8. Default: `MAX_DOCUMENT_BYTES`. */
  readonly maxBytes?: number;
}

/** A document as a tree of plain data. Lines are kept beside it, so that trees compare by what they say. */
export interface ReadDocument {
  readonly root: XmlElement;
  readonly lines: WeakMap<XmlElement, number>;
}

// Without NOENT the tree keeps references to entities, whose content libxml2 gives as text: like libvirt, which then
// does not see elements inside an entity. NO_XXE: nothing outside the document is loaded.
const OPTIONS: number = ParseOption.XML_PARSE_NONET | ParseOption.XML_PARSE_NO_XXE | ParseOption.XML_PARSE_NOWARNING;

/** libxml2's level for what makes a document not well-formed; undeclared prefixes and the like are below it. */
const FATAL = 3;

function bytesOf(xml: string | Uint8Array, maxBytes: number): Uint8Array {
  const bytes = typeof xml === 'string' ? Buffer.from(xml, 'utf8') : xml;
  if (bytes.length > maxBytes) {
    throw new DomainSnapshotError(
      'VIR_ERR_XML_DETAIL',
      `document has ${bytes.length} bytes, more than the limit of ${maxBytes}`,
    );
  }
  return bytes;
}

function notWellFormed({ messages }: Libxml2Result): DomainSnapshotError {
  const fatal = messages.find((message) => message.level >= FATAL);
  const text = fatal?.message.trim();
  return new DomainSnapshotError('VIR_ERR_XML_DETAIL', text === undefined || text === '' ? 'Document is empty' : text, {
    line: fatal?.line ?? 1,
  });
}

/**
 * Reads a document into a tree. Faults below the level of well-formedness, as an undeclared prefix, are let pass, as
 * libvirt does.
 *
 * @param xml Bytes in the encoding that they declare, or a string.
 * @throws DomainSnapshotError VIR_ERR_XML_DETAIL: not well-formed (with libxml2's text and the line), too long, deeper
 *   than 256 elements, or with a DOCTYPE where that is refused.
 */
export function readXml(xml: string | Uint8Array, options: ReadOptions = {}): ReadDocument {
  const bytes = bytesOf(xml, options.maxBytes ?? MAX_DOCUMENT_BYTES);
  // A JavaScript string has been decoded already: an encoding that it declares is no longer true.
  const result = parseWithLibxml2(bytes, typeof xml === 'string' ? 'utf-8' : undefined, OPTIONS);
  const { root, lines } = result;
  if (root === undefined) throw notWellFormed(result);
  if (result.hasDoctype && options.doctype !== 'internal') {
    throw new DomainSnapshotError('VIR_ERR_XML_DETAIL', 'a document type declaration is not accepted', { line: 1 });
  }
  return { root, lines };
}
