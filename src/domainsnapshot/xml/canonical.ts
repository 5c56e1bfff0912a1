import { isElement, type XmlChild, type XmlElement, type XmlMarkup } from './tree.ts';

function isBlank(node: XmlChild): boolean {
  return typeof node === 'string' && /^[ \t\r\n]*$/.test(node);
}

function isText(node: XmlChild): boolean {
  return typeof node === 'string' || (!isElement(node) && node.kind === 'cdata');
}

/**
 * A tree without the blanks and comments that carry no meaning, so that trees compare by what they say and print in
 * one way. Below `<metadata>` comments stay, and blanks go by libxml2's rule (see `ownLayout`).
 */
export function canonicalTree(element: XmlElement): XmlElement {
  const elements = element.children.filter(isElement);
  if (elements.length === 0) {
    const text = element.children.map((node) => (typeof node === 'string' ? node : isElement(node) ? '' : cdata(node)));
    const joined = text.join('');
    return { ...element, children: joined === '' || onlyLayout(element, joined) ? [] : [joined] };
  }
  if (element.name === 'metadata' && element.namespace === undefined) return canonicalMetadata(element);
  return { ...element, children: elements.map(canonicalTree) };
}

function cdata(node: XmlMarkup): string {
  return node.kind === 'cdata' ? node.text : '';
}

/** Containers that hold elements only: a line break between their tags says nothing. */
function onlyLayout(element: XmlElement, text: string): boolean {
  return isBlank(text) && (element.name === 'devices' || element.name === 'cookie' || element.name === 'metadata');
}

/** libvirt keeps one element per namespace below `<metadata>`, and none without a namespace. */
function canonicalMetadata(metadata: XmlElement): XmlElement {
  const seen = new Set<string>();
  const children: XmlElement[] = [];
  for (const child of metadata.children.filter(isElement)) {
    if (child.namespace === undefined || seen.has(child.namespace)) continue;
    seen.add(child.namespace);
    children.push(ownLayout(child));
  }
  return { ...metadata, children };
}

/**
 * What libxml2 keeps with blanks switched off (`areBlanks`): a blank text goes unless it is an element's only content, or
 * comes after other text of that element.
 */
function ownLayout(element: XmlElement): XmlElement {
  const kept: XmlChild[] = [];
  for (const node of element.children) {
    if (isBlank(node) && element.children.length > 1 && !kept.some(isText)) continue;
    kept.push(isElement(node) ? ownLayout(node) : node);
  }
  return { ...element, children: kept };
}
