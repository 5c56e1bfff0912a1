import type { LibvirtCode } from '../errors.ts';
import type { XmlElement } from '../xml/tree.ts';

/**
 * What a parsing function throws: libvirt's answer and the element it is about. `parseSnapshot` turns it into a
 * `DomainSnapshotError` with line and path, which only the whole document knows.
 */
export class Fault extends Error {
  readonly code: LibvirtCode;
  readonly element: XmlElement;

  constructor(code: LibvirtCode, text: string, element: XmlElement) {
    super(text);
    this.name = 'Fault';
    this.code = code;
    this.element = element;
  }
}

/** The commonest fault: VIR_ERR_XML_ERROR. */
export function xmlFault(text: string, element: XmlElement): Fault {
  return new Fault('VIR_ERR_XML_ERROR', text, element);
}
