import { ParseOption, XmlAttribute, XmlDocument, XmlElement, type XmlNode } from 'libxml2-wasm';
import { DomainSnapshotError } from '../errors.ts';

const OPTIONS: ParseOption =
  ParseOption.XML_PARSE_NONET |
  ParseOption.XML_PARSE_NO_XXE |
  ParseOption.XML_PARSE_NOWARNING |
  // As virsh: blanks between elements are dropped, and the nodes are indented anew.
  ParseOption.XML_PARSE_NOBLANKS;

/**
 * The nodes that an XPath expression finds, each as libxml2 writes it: what `virsh … --xpath` prints. An attribute comes
 * with a blank before it.
 * @throws DomainSnapshotError VIR_ERR_INTERNAL_ERROR: the expression is wrong, or gives something else than nodes.
 */
export function selectNodes(xml: string, xpath: string): readonly string[] {
  using document = XmlDocument.fromString(xml, { option: OPTIONS });
  const found = evaluate(document, xpath);
  if (!Array.isArray(found)) throw incorrect(xpath);
  return found.map(written);
}

function evaluate(document: XmlDocument, xpath: string): ReturnType<XmlElement['eval']> | undefined {
  try {
    return document.root.eval(xpath);
  } catch {
    // Whatever libxml2 says of the expression: libvirt keeps its own words.
    return undefined;
  }
}

function incorrect(xpath: string): DomainSnapshotError {
  return new DomainSnapshotError('VIR_ERR_INTERNAL_ERROR', `Incorrect xpath '${xpath}'`);
}

function escaped(text: string): string {
  return text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;');
}

function written(node: XmlNode): string {
  if (node instanceof XmlElement) return node.toString({ format: true, noDeclaration: true });
  if (!(node instanceof XmlAttribute)) return escaped(node.content);
  const name = node.prefix === '' ? node.name : `${node.prefix}:${node.name}`;
  return ` ${name}="${escaped(node.content).replaceAll('"', '&quot;')}"`;
}

/** The nodes below a common root, as `virsh … --xpath --wrap` prints them. */
export function wrapNodes(nodes: readonly string[]): string {
  if (nodes.length === 0) return '<nodes/>';
  return `<nodes>\n${nodes.map((node) => node.replaceAll(/^/gm, '  ')).join('\n')}\n</nodes>`;
}
