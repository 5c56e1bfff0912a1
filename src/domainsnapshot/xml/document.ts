import {
  ParseOption,
  XmlCData,
  XmlComment,
  XmlDocument,
  XmlElement as LibxmlElement,
  XmlEntityReference,
  XmlParseError,
  type XmlNode,
  XmlText,
  XmlTreeNode,
} from 'libxml2-wasm';
import { DomainSnapshotError } from '../errors.ts';
import type { XmlAttribute, XmlChild, XmlElement } from './tree.ts';

/** libvirt takes no string longer than this over its protocol (`REMOTE_STRING_MAX`), so no document either. */
export const MAX_DOCUMENT_BYTES: number = 4 * 1024 * 1024;

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
const OPTIONS = (ParseOption.XML_PARSE_NONET |
  ParseOption.XML_PARSE_NO_XXE |
  ParseOption.XML_PARSE_NOWARNING) as ParseOption;
const SILENT = (OPTIONS | ParseOption.XML_PARSE_NOERROR) as ParseOption;

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

function open(xml: string | Uint8Array, options: ReadOptions): XmlDocument {
  const bytes = bytesOf(xml, options.maxBytes ?? MAX_DOCUMENT_BYTES);
  // A JavaScript string has been decoded already: an encoding that it declares is no longer true.
  const encoding = typeof xml === 'string' ? { encoding: 'utf-8' } : {};
  try {
    return XmlDocument.fromBuffer(bytes, { ...encoding, option: OPTIONS });
  } catch (error) {
    if (!(error instanceof XmlParseError)) throw error;
    const fatal = error.details.find((detail) => detail.level >= FATAL);
    if (fatal === undefined && error.details.length > 0) {
      // An undeclared prefix and other namespace faults: libvirt reads on, and so do we. With NOERROR the library
      // does not hear of them.
      return XmlDocument.fromBuffer(bytes, { ...encoding, option: SILENT });
    }
    throw new DomainSnapshotError('VIR_ERR_XML_DETAIL', fatal?.message.trim() || 'Document is empty', {
      line: fatal?.line ?? 1,
    });
  }
}

function attributesOf(element: LibxmlElement): readonly XmlAttribute[] {
  return element.attrs.map((attribute) => ({
    name: attribute.name,
    value: attribute.content,
    ...(attribute.prefix ? { prefix: attribute.prefix } : {}),
    ...(attribute.namespaceUri ? { namespace: attribute.namespaceUri } : {}),
  }));
}

function childOf(node: XmlNode, lines: WeakMap<XmlElement, number>): XmlChild | undefined {
  if (node instanceof LibxmlElement) return convert(node, lines);
  if (node instanceof XmlCData) return { kind: 'cdata', text: node.content };
  if (node instanceof XmlText || node instanceof XmlEntityReference) return node.content;
  if (node instanceof XmlComment) return { kind: 'comment', text: node.content };
  return undefined;
}

/**
 * The sibling after a node. The library gives a processing instruction none, so XPath must step over it; that passes by
 * a reference to an entity that follows it at once, which only a document with a DOCTYPE can hold.
 */
function nextOf(node: XmlNode): XmlNode | null {
  return node instanceof XmlTreeNode ? node.next : node.get('following-sibling::node()[1]');
}

/** libxml2 bounds the depth to 256 elements, so this recursion is bounded too. */
function convert(element: LibxmlElement, lines: WeakMap<XmlElement, number>): XmlElement {
  const children: XmlChild[] = [];
  for (let node: XmlNode | null = element.firstChild; node !== null; node = nextOf(node)) {
    const child = childOf(node, lines);
    if (child !== undefined) children.push(child);
  }
  const declarations = element.nsDeclarations;
  const converted: XmlElement = {
    name: element.name,
    ...(element.prefix ? { prefix: element.prefix } : {}),
    ...(element.namespaceUri ? { namespace: element.namespaceUri } : {}),
    ...(Object.keys(declarations).length > 0 ? { declarations } : {}),
    attributes: attributesOf(element),
    children,
  };
  lines.set(converted, element.line);
  return converted;
}

/**
 * Reads a document into a tree. All memory of libxml2 is given back before it returns.
 *
 * @param xml Bytes in the encoding that they declare, or a string.
 * @throws DomainSnapshotError VIR_ERR_XML_DETAIL: not well-formed (with libxml2's text and the line), too long, deeper
 *   than 256 elements, or with a DOCTYPE where that is refused.
 */
export function readXml(xml: string | Uint8Array, options: ReadOptions = {}): ReadDocument {
  const document = open(xml, options);
  try {
    if (document.dtd !== null && options.doctype !== 'internal') {
      throw new DomainSnapshotError('VIR_ERR_XML_DETAIL', 'a document type declaration is not accepted', { line: 1 });
    }
    const lines = new WeakMap<XmlElement, number>();
    return { root: convert(document.root, lines), lines };
  } finally {
    document.dispose();
  }
}
