/** An attribute; `namespace` is the URI when it has a prefix that is declared. */
export interface XmlAttribute {
  readonly name: string;
  readonly value: string;
  readonly prefix?: string;
  readonly namespace?: string;
}

/** Pieces of an element that are neither elements nor plain text. */
export interface XmlMarkup {
  /** For an `instruction` the text is its target and its data. */
  readonly kind: 'cdata' | 'comment' | 'instruction';
  readonly text: string;
}

/** What an element can hold; text is a string. */
export type XmlChild = XmlElement | XmlMarkup | string;

/** An element of a document, as plain data. Entity references are expanded. */
export interface XmlElement {
  /** Local name. */
  readonly name: string;
  readonly prefix?: string;
  /** URI of the namespace, declared here or above. */
  readonly namespace?: string;
  /** Namespaces declared on this element: prefix ('' = default) and URI. */
  readonly declarations?: Readonly<Record<string, string>>;
  readonly attributes: readonly XmlAttribute[];
  readonly children: readonly XmlChild[];
}

export function isElement(node: XmlChild): node is XmlElement {
  return typeof node === 'object' && 'attributes' in node;
}

/** The child elements, in order. */
export function elementsOf(element: XmlElement): readonly XmlElement[] {
  return element.children.filter(isElement);
}

/** XPath `./name`: the child elements of this name in no namespace. */
export function childrenNamed(element: XmlElement, name: string): readonly XmlElement[] {
  return element.children.filter(
    (node): node is XmlElement => isElement(node) && node.name === name && node.namespace === undefined,
  );
}

/** XPath `./name[1]`. */
export function childNamed(element: XmlElement, name: string): XmlElement | undefined {
  return childrenNamed(element, name)[0];
}

/** All elements that are reached by child names, one per step: XPath `./a/b/c`. */
export function select(element: XmlElement, ...names: readonly string[]): readonly XmlElement[] {
  let found: readonly XmlElement[] = [element];
  for (const name of names) found = found.flatMap((each) => childrenNamed(each, name));
  return found;
}

/** The value of an attribute by its local name, whatever its namespace: libxml2's `xmlGetProp`. */
export function property(element: XmlElement, name: string): string | undefined {
  return element.attributes.find((attribute) => attribute.name === name)?.value;
}

/** XPath `string(./@name)`, where an empty text counts as absent. */
export function xpathAttribute(element: XmlElement, name: string): string | undefined {
  const found = element.attributes.find((each) => each.name === name && each.namespace === undefined);
  return found?.value === '' ? undefined : found?.value;
}

/** XPath `string(.)`: the text of all descendants, CDATA included, comments not. */
export function textOf(element: XmlElement): string {
  let text = '';
  for (const node of element.children) {
    if (typeof node === 'string') text += node;
    else if (isElement(node)) text += textOf(node);
    else if (node.kind === 'cdata') text += node.text;
  }
  return text;
}

/** XPath `string(./a/b)`: the text of the first element found, where an empty text counts as absent. */
export function xpathString(element: XmlElement, ...names: readonly string[]): string | undefined {
  const found = select(element, ...names)[0];
  const text = found === undefined ? '' : textOf(found);
  return text === '' ? undefined : text;
}

/** XPath `string(./a/b/@name)`: the first such attribute of any `a/b`. An empty text counts as absent. */
export function xpathAttributeAt(element: XmlElement, names: readonly string[], attribute: string): string | undefined {
  for (const found of select(element, ...names)) {
    const value = found.attributes.find((each) => each.name === attribute && each.namespace === undefined)?.value;
    if (value !== undefined) return value === '' ? undefined : value;
  }
  return undefined;
}

/** The name with its prefix. */
export function qualifiedName(node: { readonly name: string; readonly prefix?: string }): string {
  return node.prefix === undefined ? node.name : `${node.prefix}:${node.name}`;
}

/** The elements from the root down to a wanted one, or undefined when it is not below. */
function ancestry(root: XmlElement, wanted: XmlElement): readonly XmlElement[] | undefined {
  if (root === wanted) return [root];
  for (const child of root.children) {
    if (!isElement(child)) continue;
    const found = ancestry(child, wanted);
    if (found !== undefined) return [root, ...found];
  }
  return undefined;
}

/** The path of an element below a root: `/domainsnapshot/disks/disk[2]`. Undefined when it is not below it. */
export function pathTo(root: XmlElement, wanted: XmlElement): string | undefined {
  return ancestry(root, wanted)
    ?.map((element, depth, line) => {
      const name = qualifiedName(element);
      const parent = line[depth - 1];
      if (parent === undefined) return `/${name}`;
      const same = elementsOf(parent).filter((other) => qualifiedName(other) === name);
      return same.length > 1 ? `/${name}[${same.indexOf(element) + 1}]` : `/${name}`;
    })
    .join('');
}
