import { type FerryError, isFerryError } from '../base/index.ts';

/**
 * Whether libvirt refused a call (LIBVIRT_ERROR), with one of these codes where any is given (`ERR.NO_DOMAIN`).
 * libvirt's text is `error.fields.message`; code, domain and level are fields, too, what was sent is `error.details.sent`.
 */
export function isLibvirtError(error: unknown, ...codes: readonly number[]): error is FerryError {
  return isFerryError(error, 'LIBVIRT_ERROR') && (codes.length === 0 || codes.includes(Number(error.fields['code'])));
}

/**
 * Whether the connection is gone. LIBVIRT_INTERRUPTED: the call may have been carried out. LIBVIRT_CLOSED: it was never
 * sent.
 */
export function isLibvirtConnectionLost(error: unknown): error is FerryError {
  return isFerryError(error, 'LIBVIRT_INTERRUPTED', 'LIBVIRT_CLOSED');
}
