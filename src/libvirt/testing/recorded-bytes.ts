/**
 * What libvirtd 9.0.0 of Debian 12 sends, byte for byte, each word with what it means. The fake libvirtd of the unit tests
 * sends these; `recorded-bytes.integ.ts` compares them with a real one.
 */

/** The bytes of lines that begin with words of hex digits; what follows on a line is a note. */
export function annotated(text: string): Buffer {
  const words = text.split('\n').map((line) => /^\s*((?:[0-9a-f]{2})*)(?:\s|$)/.exec(line)?.[1] ?? '');
  return Buffer.from(words.join(''), 'hex');
}

/** A number as a word of four bytes. */
export function word(number: number): string {
  return number.toString(16).padStart(8, '0');
}

/** The reply to AUTH_LIST of a socket that asks for nothing. */
export const authListReply = (serial: number): Buffer =>
  annotated(`
    00000024  length, these four bytes included
    20008086  program: remote
    00000001  version of the program
    00000042  procedure 66: AUTH_LIST
    00000001  type: reply
    ${word(serial)}  serial of the call
    00000000  status: ok
    00000001  one kind of authentication
    00000000  none
  `);

/** The reply to CONNECT_SUPPORTS_FEATURE: keepalive is supported. */
export const featureReply = (serial: number): Buffer =>
  annotated(`
    00000020  length
    20008086  program: remote
    00000001  version
    0000003c  procedure 60: CONNECT_SUPPORTS_FEATURE
    00000001  type: reply
    ${word(serial)}  serial
    00000000  status: ok
    00000001  supported
  `);

/** The reply to a call that returns nothing: CONNECT_OPEN. */
export const openReply = (serial: number): Buffer =>
  annotated(`
    0000001c  length: a header and nothing more
    20008086  program: remote
    00000001  version
    00000001  procedure 1: CONNECT_OPEN
    00000001  type: reply
    ${word(serial)}  serial
    00000000  status: ok
  `);

/** The reply to CONNECT_GET_LIB_VERSION. */
export const versionReply = (serial: number): Buffer =>
  annotated(`
    00000024  length
    20008086  program: remote
    00000001  version
    0000009d  procedure 157: CONNECT_GET_LIB_VERSION
    00000001  type: reply
    ${word(serial)}  serial
    00000000  status: ok
    0000000000895440  9000000: 9.0.0
  `);

/** The reply to DOMAIN_LOOKUP_BY_NAME of a name that no domain of the test driver has. */
export const noDomainReply = (serial: number): Buffer =>
  annotated(`
    00000070  length
    20008086  program: remote
    00000001  version
    00000017  procedure 23: DOMAIN_LOOKUP_BY_NAME
    00000001  type: reply
    ${word(serial)}  serial
    00000001  status: error
    0000002a  code 42: VIR_ERR_NO_DOMAIN
    0000000c  domain 12: VIR_FROM_TEST
    00000001  there is a message
    00000010  of 16 bytes
    446f6d61696e206e6f7420666f756e64  Domain not found
    00000002  level: error
    00000000  no domain object
    00000001  str1 is there
    00000010  16 bytes
    446f6d61696e206e6f7420666f756e64  Domain not found
    00000000  no str2
    00000000  no str3
    ffffffff  int1
    ffffffff  int2
    00000000  no network
  `);

/** The event LIFECYCLE: the test driver's domain was suspended. */
export const suspendedEvent: Buffer = annotated(`
    00000044  length
    20008086  program: remote
    00000001  version
    0000013e  procedure 318: DOMAIN_EVENT_CALLBACK_LIFECYCLE
    00000002  type: an event
    00000001  serial: means nothing (libvirt's protocol file says it is 0)
    00000000  status: ok
    00000000  callback 0
    00000004  a name of 4 bytes
    74657374  test
    6695eb01f6a4830479aa97f2502e193f  uuid
    00000001  id
    00000003  event: suspended
    00000000  detail: paused
  `);

/** Is anybody there? */
export const ping: Buffer = annotated(`
    0000001c  length
    6b656570  program: keepalive
    00000001  version
    00000001  procedure 1: ping
    00000002  type: an event
    00000000  no serial
    00000000  status: ok
  `);

/** The answer to it. */
export const pong: Buffer = annotated(`
    0000001c  length
    6b656570  program: keepalive
    00000001  version
    00000002  procedure 2: pong
    00000002  type: an event
    00000000  no serial
    00000000  status: ok
  `);
