import { type FerryError, isFerryError } from '../base/index.ts';

/**
 * Whether QEMU refused a command (QMP_COMMAND), with this class where one is given: `GenericError`,
 * `CommandNotFound`, `DeviceNotFound`, `DeviceNotActive`, `KVMMissingCap`. QEMU's text is `error.fields.desc`; what was
 * sent and received is `error.details.sent` and `error.details.received`.
 */
export function isQmpCommandError(error: unknown, errorClass?: string): error is FerryError {
  return isFerryError(error, 'QMP_COMMAND') && (errorClass === undefined || error.fields['class'] === errorClass);
}

/**
 * Whether the connection is gone. QMP_INTERRUPTED: the command may have run. QMP_CLOSED: it was never sent.
 */
export function isQmpConnectionLost(error: unknown): error is FerryError {
  return isFerryError(error, 'QMP_INTERRUPTED', 'QMP_CLOSED');
}
