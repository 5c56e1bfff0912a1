/** libvirt's error codes that this room answers with, their numbers, and the words that libvirt puts before the text. */
export const LIBVIRT_CODES = {
  VIR_ERR_INTERNAL_ERROR: { number: 1, prefix: 'internal error: ' },
  VIR_ERR_INVALID_ARG: { number: 8, prefix: 'invalid argument: ' },
  VIR_ERR_OPERATION_FAILED: { number: 9, prefix: 'operation failed: ' },
  VIR_ERR_NO_NAME: { number: 21, prefix: '' },
  VIR_ERR_XML_ERROR: { number: 27, prefix: 'XML error: ' },
  VIR_ERR_XML_DETAIL: { number: 35, prefix: '' },
  VIR_ERR_CONFIG_UNSUPPORTED: { number: 67, prefix: 'unsupported configuration: ' },
  VIR_ERR_NO_DOMAIN_SNAPSHOT: { number: 72, prefix: 'Domain snapshot not found: ' },
  VIR_ERR_ARGUMENT_UNSUPPORTED: { number: 74, prefix: 'argument unsupported: ' },
  VIR_ERR_OVERFLOW: { number: 82, prefix: 'numerical overflow: ' },
  VIR_ERR_XML_INVALID_SCHEMA: { number: 92, prefix: 'XML document failed to validate against schema: ' },
} as const;

/** The name of a libvirt error code, as in `virErrorNumber`. */
export type LibvirtCode = keyof typeof LIBVIRT_CODES;

/** Where in a document an error is; libvirt itself gives none of it beyond well-formedness errors. */
export interface ErrorPlace {
  /** Line of the element, counted from 1. */
  readonly line?: number | undefined;
  /** The element, as a path: `/domainsnapshot/disks/disk[2]/mirror`. */
  readonly element?: string | undefined;
}

/**
 * An error with libvirt's answer: the code, its number in `virErrorNumber`, and the message with libvirt's prefix, byte
 * for byte. `line` and `element` say where, when the error is about a document.
 */
export class DomainSnapshotError extends Error {
  readonly code: LibvirtCode;
  /** The number of the code in libvirt's `virErrorNumber`. */
  readonly number: number;
  readonly line: number | undefined;
  readonly element: string | undefined;

  /** @param text The message without libvirt's prefix, which is put before it. */
  constructor(code: LibvirtCode, text: string, place: ErrorPlace = {}) {
    super(LIBVIRT_CODES[code].prefix + text);
    this.name = 'DomainSnapshotError';
    this.code = code;
    this.number = LIBVIRT_CODES[code].number;
    this.line = place.line;
    this.element = place.element;
  }

  toJSON(): object {
    return {
      code: this.code,
      number: this.number,
      message: this.message,
      ...(this.line === undefined ? {} : { line: this.line }),
      ...(this.element === undefined ? {} : { element: this.element }),
    };
  }
}
