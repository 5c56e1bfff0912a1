/** Name and value; a value that is undefined leaves the attribute out. */
export type Attributes = readonly (readonly [name: string, value: string | number | bigint | undefined])[];

const SPECIAL: Readonly<Record<string, string>> = {
  '<': '&lt;',
  '>': '&gt;',
  '&': '&amp;',
  '"': '&quot;',
  "'": '&apos;',
};

/** Control characters that XML cannot hold are dropped; libvirt's list of them ends at 0x19, ours does not. */
function escapeOne(found: string): string {
  return found < ' ' && !'\t\n\r'.includes(found) ? '' : (SPECIAL[found] ?? found);
}

/**
 * Escapes a text or an attribute, which libvirt does in the same way (`virBufferEscapeString`): the five characters
 * become entities. Tab, newline and carriage return go out raw, also in attributes.
 */
export function escapeXml(text: string): string {
  return text.replaceAll(/[<>&"'\p{Cc}]/gu, escapeOne);
}

/** ` name='value'` for each attribute that has a value, in order. */
export function formatAttributes(attributes: Attributes): string {
  let text = '';
  for (const [name, value] of attributes) {
    if (value !== undefined) text += ` ${name}='${escapeXml(String(value))}'`;
  }
  return text;
}

/**
 * XML lines as libvirt lays them out: two blanks per level, single quotes, no declaration, a newline after each line.
 * A text of several lines is not indented.
 */
export class XmlWriter {
  readonly #lines: string[] = [];
  #indent = '';

  /** `<name …/>`. */
  empty(name: string, attributes: Attributes = []): void {
    this.#lines.push(`${this.#indent}<${name}${formatAttributes(attributes)}/>\n`);
  }

  /** `<name …>text</name>`, or nothing when the text is undefined. */
  text(name: string, text: string | bigint | undefined, attributes: Attributes = []): void {
    if (text === undefined) return;
    this.#lines.push(`${this.#indent}<${name}${formatAttributes(attributes)}>${escapeXml(String(text))}</${name}>\n`);
  }

  /** `<name …>`, the lines of the body one level deeper, `</name>`; both tags also when the body writes nothing. */
  open(name: string, attributes: Attributes, body: () => void): void {
    this.#lines.push(`${this.#indent}<${name}${formatAttributes(attributes)}>\n`);
    this.#deeper(body);
    this.#lines.push(`${this.#indent}</${name}>\n`);
  }

  /** libvirt's `virXMLFormatElement`: left out without attributes and body, closed in itself without body. */
  element(name: string, attributes: Attributes, body: () => void = () => undefined): void {
    const start = this.#lines.length;
    const head = `${this.#indent}<${name}${formatAttributes(attributes)}`;
    this.#lines.push('');
    this.#deeper(body);
    if (this.#lines.length > start + 1) {
      this.#lines[start] = `${head}>\n`;
      this.#lines.push(`${this.#indent}</${name}>\n`);
    } else if (attributes.some(([, value]) => value !== undefined)) {
      this.#lines[start] = `${head}/>\n`;
    } else {
      this.#lines.pop();
    }
  }

  /** A line that is written as it is, behind the indentation. */
  raw(line: string): void {
    this.#lines.push(`${this.#indent}${line}\n`);
  }

  /** How many blanks stand before a line now. */
  get indent(): number {
    return this.#indent.length;
  }

  toString(): string {
    return this.#lines.join('');
  }

  #deeper(body: () => void): void {
    const outer = this.#indent;
    this.#indent += '  ';
    body();
    this.#indent = outer;
  }
}
