/*
 * The one file that walks libxml2's own tree. The public nodes of libxml2-wasm cost twice as much time, cannot step over a
 * processing instruction, and hold a WeakRef per document, which JavaScript keeps until the running job ends: a million
 * parses in one loop held 100 MB. So this uses the layer below them, which is why the version of libxml2-wasm is pinned.
 */
import {
  error as errors,
  type ErrorDetail,
  xmlCtxtSetErrorHandler,
  xmlDocGetRootElement,
  xmlFreeDoc,
  xmlFreeParserCtxt,
  xmlGetIntSubset,
  xmlNewParserCtxt,
  xmlNodeGetContent,
  XmlNodeStruct,
  XmlNsStruct,
  xmlReadMemory,
} from 'libxml2-wasm/lib/libxml2.mjs';
import type { XmlAttribute, XmlChild, XmlElement } from './tree.ts';

// Its accessor of a node's name is called name_, because `name` is a property of every class.
const { name_: nameOf } = XmlNodeStruct;

/** An address in libxml2's memory; 0 = none. */
type Pointer = number;

/** libxml2's numbers for the nodes that a tree of ours has (`xmlElementType`). */
const NODE = { element: 1, text: 3, cdata: 4, entityReference: 5, instruction: 7, comment: 8 } as const;

/** What libxml2 made of some bytes. */
export interface Libxml2Result {
  /** The root, or undefined when the bytes are not a well-formed document. */
  readonly root: XmlElement | undefined;
  readonly hasDoctype: boolean;
  readonly messages: readonly ErrorDetail[];
  /** The line of each element, counted from 1; libxml2 counts to 65535. */
  readonly lines: WeakMap<XmlElement, number>;
}

/**
 * Parses bytes and copies the tree out. All memory of libxml2 is given back before it returns.
 * @param encoding What the bytes are, whatever they declare; undefined: what they declare.
 * @param options libxml2's `xmlParserOption`s.
 */
export function parseWithLibxml2(bytes: Uint8Array, encoding: string | undefined, options: number): Libxml2Result {
  const context = xmlNewParserCtxt();
  const slot = errors.storage.allocate([]);
  let document: Pointer = 0;
  try {
    xmlCtxtSetErrorHandler(context, errors.errorCollector, slot);
    document = xmlReadMemory(context, bytes, null, encoding ?? null, options);
    const lines = new WeakMap<XmlElement, number>();
    const root = document === 0 ? undefined : convert(xmlDocGetRootElement(document), lines);
    const hasDoctype = document !== 0 && xmlGetIntSubset(document) !== 0;
    return { root, hasDoctype, messages: errors.storage.get(slot), lines };
  } finally {
    if (document !== 0) xmlFreeDoc(document);
    errors.storage.free(slot);
    xmlFreeParserCtxt(context);
  }
}

/** Prefix and namespace of an element or an attribute, where it has them. */
function namespaceOf(node: Pointer): Pick<XmlElement, 'prefix' | 'namespace'> {
  const namespace = XmlNodeStruct.namespace(node);
  if (namespace === 0) return {};
  const prefix = XmlNsStruct.prefix(namespace);
  return { ...(prefix === '' ? {} : { prefix }), namespace: XmlNsStruct.href(namespace) };
}

function attributesOf(element: Pointer): readonly XmlAttribute[] {
  const attributes: XmlAttribute[] = [];
  for (let node = XmlNodeStruct.properties(element); node !== 0; node = XmlNodeStruct.next(node)) {
    attributes.push({ name: nameOf(node), value: xmlNodeGetContent(node), ...namespaceOf(node) });
  }
  return attributes;
}

function declarationsOf(element: Pointer): Pick<XmlElement, 'declarations'> {
  const declarations: Record<string, string> = {};
  const first = XmlNodeStruct.nsDef(element);
  for (let node = first; node !== 0; node = XmlNsStruct.next(node)) {
    declarations[XmlNsStruct.prefix(node)] = XmlNsStruct.href(node);
  }
  return first === 0 ? {} : { declarations };
}

function childOf(node: Pointer, lines: WeakMap<XmlElement, number>): XmlChild | undefined {
  switch (XmlNodeStruct.type(node)) {
    case NODE.element:
      return convert(node, lines);
    case NODE.text:
    case NODE.entityReference:
      return xmlNodeGetContent(node);
    case NODE.cdata:
      return { kind: 'cdata', text: xmlNodeGetContent(node) };
    case NODE.comment:
      return { kind: 'comment', text: xmlNodeGetContent(node) };
    case NODE.instruction:
      return { kind: 'instruction', text: `${nameOf(node)} ${xmlNodeGetContent(node)}`.trimEnd() };
    default:
      return undefined;
  }
}

/** libxml2 bounds the depth to 256 elements, so this recursion is bounded too. */
function convert(element: Pointer, lines: WeakMap<XmlElement, number>): XmlElement {
  const children: XmlChild[] = [];
  for (let node = XmlNodeStruct.children(element); node !== 0; node = XmlNodeStruct.next(node)) {
    const child = childOf(node, lines);
    if (child !== undefined) children.push(child);
  }
  const converted: XmlElement = {
    name: nameOf(element),
    ...namespaceOf(element),
    ...declarationsOf(element),
    attributes: attributesOf(element),
    children,
  };
  lines.set(converted, XmlNodeStruct.line(element));
  return converted;
}
