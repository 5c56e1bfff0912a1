/**
 * One message of libvirt's RPC (`virnetprotocol.x`): its length in four bytes, a header of six numbers, the payload.
 *
 *     length | program | version | procedure | type | serial | status | payload
 *
 * Length counts itself. All numbers are of 32 bits, most significant byte first.
 */
import { ferryError } from '../../base/index.ts';

export const PROGRAM = { remote: 0x20008086, qemu: 0x20008087, keepalive: 0x6b656570 } as const;
/** All three programs are at their first version. */
const VERSION = 1;
/** What a message is. The types that pass file descriptors cannot be received through Node, and streams are not opened. */
export const TYPE = { call: 0, reply: 1, event: 2 } as const;
export const STATUS = { ok: 0, error: 1 } as const;

export const LENGTH_BYTES = 4;
const HEADER_BYTES = 24;
/** Length and header. No message is shorter. */
export const SHORTEST_FRAME: number = LENGTH_BYTES + HEADER_BYTES;
/** The longest message that libvirt sends or takes (`VIR_NET_MESSAGE_MAX`, which does not count the length itself). */
export const LONGEST_FRAME: number = LENGTH_BYTES + 33_554_432;

export interface Frame {
  readonly program: number;
  readonly procedure: number;
  readonly type: number;
  /** Pairs a reply with its call; means nothing for events. */
  readonly serial: number;
  readonly status: number;
  readonly payload: Uint8Array;
}

const NOTHING = new Uint8Array();

/** The bytes of a message. */
export function frameBytes(frame: Omit<Frame, 'status' | 'payload'> & { readonly payload?: Uint8Array }): Buffer {
  const payload = frame.payload ?? NOTHING;
  const bytes = Buffer.alloc(SHORTEST_FRAME + payload.length);
  const words = [bytes.length, frame.program, VERSION, frame.procedure, frame.type, frame.serial, STATUS.ok];
  for (const [at, word] of words.entries()) bytes.writeUInt32BE(word, 4 * at);
  bytes.set(payload, SHORTEST_FRAME);
  return bytes;
}

/**
 * Reads one message.
 * @throws FerryError LIBVIRT_PROTOCOL when its version is another
 */
export function parseFrame(bytes: Buffer): Frame {
  const word = (at: number): number => bytes.readUInt32BE(4 * at);
  const version = word(2);
  if (version !== VERSION) {
    const program = `0x${word(1).toString(16)}`;
    throw ferryError('LIBVIRT_PROTOCOL', { why: `version ${version} of the program ${program}` });
  }
  return {
    program: word(1),
    procedure: bytes.readInt32BE(12),
    type: word(4),
    serial: word(5),
    status: word(6),
    payload: bytes.subarray(SHORTEST_FRAME),
  };
}
