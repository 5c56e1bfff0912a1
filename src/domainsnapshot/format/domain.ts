import { isElement, qualifiedName, type XmlAttribute, type XmlChild, type XmlElement } from '../xml/tree.ts';
import type { Attributes, XmlWriter } from '../xml/writer.ts';

/** Elements that libvirt writes with both tags although nothing is between them. */
const TWO_TAGS = new Set(['devices', 'encryption', 'cookie']);

function attributesOf(element: XmlElement): Attributes {
  return [
    ...element.attributes.map((attribute) => [qualifiedName(attribute), attribute.value] as const),
    ...declarationsOf(element),
  ];
}

function declarationsOf(element: XmlElement): readonly (readonly [string, string])[] {
  return Object.entries(element.declarations ?? {}).map(
    ([prefix, uri]) => [prefix === '' ? 'xmlns' : `xmlns:${prefix}`, uri] as const,
  );
}

/** Whether an attribute is a secret that is only shown with the flag SECURE. */
function isSecret(element: XmlElement, attribute: XmlAttribute): boolean {
  return element.name === 'graphics' && (attribute.name === 'passwd' || attribute.name === 'passwdValidTo');
}

function withoutSecrets(element: XmlElement): XmlElement {
  return { ...element, attributes: element.attributes.filter((each) => !isSecret(element, each)) };
}

/**
 * A tree in libvirt's layout: what `<domain>`, `<inactiveDomain>` and `<cookie>` come out as.
 *
 * @param secure Keeps the passwords of consoles.
 */
export function formatTree(writer: XmlWriter, tree: XmlElement, secure: boolean): void {
  const element = secure ? tree : withoutSecrets(tree);
  const name = qualifiedName(element);
  const elements = element.children.filter(isElement);
  if (elements.length === 0) {
    const text = element.children.filter((node) => typeof node === 'string').join('');
    if (text !== '') writer.text(name, text, attributesOf(element));
    else if (TWO_TAGS.has(name)) writer.open(name, attributesOf(element), () => undefined);
    else writer.empty(name, attributesOf(element));
    return;
  }
  writer.open(name, attributesOf(element), () => {
    for (const child of elements) {
      if (name === 'metadata') writer.raw(dump(child, writer.indent));
      else formatTree(writer, child, secure);
    }
  });
}

/*
 * Foreign metadata keeps the layout that libxml2 gives it (`xmlNodeDump` with format): double quotes, namespaces before
 * attributes, children on lines of their own unless there is text among them.
 */

function escapeText(text: string): string {
  return text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;').replaceAll('\r', '&#13;');
}

function escapeValue(text: string): string {
  return escapeText(text)
    .replaceAll('"', '&quot;')
    .replaceAll('\n', '&#10;')
    .replaceAll('\t', '&#9;')
    .replaceAll(/[\u0080-\u{10ffff}]/gu, (found) => `&#x${(found.codePointAt(0) ?? 0).toString(16).toUpperCase()};`);
}

function dumpMarkup(node: Exclude<XmlChild, XmlElement>): string {
  if (typeof node === 'string') return escapeText(node);
  switch (node.kind) {
    case 'cdata':
      return `<![CDATA[${node.text}]]>`;
    case 'comment':
      return `<!--${node.text}-->`;
    case 'instruction':
      break;
  }
  return `<?${node.text}?>`;
}

function dump(element: XmlElement, indent: number | undefined): string {
  const attributes = [
    ...declarationsOf(element),
    ...element.attributes.map((each) => [qualifiedName(each), each.value] as const),
  ];
  const head = `<${qualifiedName(element)}${attributes.map(([name, value]) => ` ${name}="${escapeValue(value)}"`).join('')}`;
  if (element.children.length === 0) return `${head}/>`;
  const mixed = element.children.some(
    (node) => !isElement(node) && (typeof node === 'string' || node.kind === 'cdata'),
  );
  const inner = mixed || indent === undefined ? undefined : indent + 2;
  const line = inner === undefined ? '' : `\n${' '.repeat(inner)}`;
  const children = element.children.map((node) => line + (isElement(node) ? dump(node, inner) : dumpMarkup(node)));
  const end = inner === undefined || indent === undefined ? '' : `\n${' '.repeat(indent)}`;
  return `${head}>${children.join('')}${end}</${qualifiedName(element)}>`;
}
