/** Prefixes that libvirt puts before the text, of the codes that this room answers with. */
const PREFIX = {
  VIR_ERR_INVALID_ARG: 'invalid argument: ',
  VIR_ERR_OPERATION_FAILED: 'operation failed: ',
  VIR_ERR_OPERATION_INVALID: 'Requested operation is not valid: ',
  VIR_ERR_CONFIG_UNSUPPORTED: 'unsupported configuration: ',
  VIR_ERR_ARGUMENT_UNSUPPORTED: 'argument unsupported: ',
  VIR_ERR_OPERATION_UNSUPPORTED: 'Operation not supported: ',
  VIR_ERR_AGENT_UNRESPONSIVE: 'Guest agent is not responding: ',
} as const;

/** An answer of a driver as libvirt gives it: the code by name, and the whole message. */
export class SnapshotError extends Error {
  readonly code: string;

  constructor(code: string, message: string, options?: ErrorOptions) {
    super(message, options);
    this.name = 'SnapshotError';
    this.code = code;
  }
}

/** A refusal with libvirt's prefix before the text. */
export function refusal(code: keyof typeof PREFIX, text: string, options?: ErrorOptions): SnapshotError {
  return new SnapshotError(code, PREFIX[code] + text, options);
}

/** Flags that do not go together; libvirt puts no prefix before this. */
export function flagRefusal(text: string): SnapshotError {
  return new SnapshotError('VIR_ERR_INVALID_ARG', text);
}
