import { structure, type ValuesOf } from './types.ts';

/** The error that libvirtd answers a call with (`virNetMessageError`); what it no longer uses is left out. */
export interface RemoteError {
  /** `VIR_ERR_…`; those that a caller may want to tell apart are in constants.ts. */
  readonly code: number;
  /** The part of libvirt that reports it (`VIR_FROM_…`). */
  readonly domain: number;
  readonly message: string | null;
  /** 1 warning, 2 error. */
  readonly level: number;
}

export const ERROR_FIELDS = {
  code: 'int',
  domain: 'int',
  message: 'text?',
  level: 'int',
  dom: 'domain?',
  str1: 'text?',
  str2: 'text?',
  str3: 'text?',
  int1: 'int',
  int2: 'int',
  net: 'network?',
} as const;

/** Reads an error. Throws when the bytes are none. */
export function parseRemoteError(payload: Uint8Array): RemoteError {
  const values = structure(ERROR_FIELDS).decode(payload) as ValuesOf<Omit<typeof ERROR_FIELDS, 'net'>>;
  return { code: values.code, domain: values.domain, level: values.level, message: values.message };
}
