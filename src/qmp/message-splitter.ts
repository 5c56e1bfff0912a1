/**
 * Cuts the byte stream of a QMP connection into messages. QEMU ends each message with CR LF, but a monitor that was
 * started with `-qmp-pretty` (`pretty=on`) spreads one message over many lines; so what ends a message here is the
 * brace that closes its object, and both kinds of monitor are read alike.
 */
import { ferryError } from '../base/index.ts';

const QUOTE = 0x22;
const BACKSLASH = 0x5c;
const OPEN_BRACE = 0x7b;
const CLOSE_BRACE = 0x7d;
const OPEN_BRACKET = 0x5b;
const CLOSE_BRACKET = 0x5d;
const BLANKS: ReadonlySet<number> = new Set([0x20, 0x09, 0x0a, 0x0d]);

export class MessageSplitter {
  readonly #limit: number;
  /** The pieces of the message that is not complete yet, and their length in bytes. */
  #pieces: Buffer[] = [];
  #length = 0;
  /** How many braces and brackets are open; 0 between messages. */
  #depth = 0;
  #inString = false;
  #escaped = false;

  /** `limit`: the most bytes that one message may have. */
  constructor(limit: number) {
    this.#limit = limit;
  }

  /** Whether part of a message has come and its end has not. */
  get inMessage(): boolean {
    return this.#depth > 0;
  }

  /**
   * Takes the next bytes and yields the text of each message that they complete.
   * @throws FerryError QMP_PROTOCOL: bytes between messages, more than the limit, bytes that are not UTF-8. The
   *   splitter cannot be used after that.
   */
  *push(chunk: Buffer): Generator<string, void> {
    let start = 0;
    for (let at = 0; at < chunk.length; at += 1) {
      const byte = chunk[at] ?? 0;
      if (this.#depth === 0) {
        start = at;
        if (byte === OPEN_BRACE) this.#depth = 1;
        else if (!BLANKS.has(byte)) throw garbage(chunk.subarray(at));
      } else if (this.#inString) {
        if (this.#escaped) this.#escaped = false;
        else if (byte === BACKSLASH) this.#escaped = true;
        else if (byte === QUOTE) this.#inString = false;
      } else if (byte === QUOTE) this.#inString = true;
      else if (byte === OPEN_BRACE || byte === OPEN_BRACKET) this.#depth += 1;
      else if (byte === CLOSE_BRACE || byte === CLOSE_BRACKET) {
        this.#depth -= 1;
        if (this.#depth === 0) {
          this.#keep(chunk.subarray(start, at + 1));
          yield this.#take();
        }
      }
    }
    if (this.#depth > 0) this.#keep(chunk.subarray(start));
  }

  #keep(piece: Buffer): void {
    this.#length += piece.length;
    if (this.#length > this.#limit) {
      throw ferryError('QMP_PROTOCOL', { why: `a message of more than ${this.#limit} bytes` });
    }
    this.#pieces.push(piece);
  }

  #take(): string {
    const bytes = this.#pieces.length === 1 ? this.#pieces[0] : Buffer.concat(this.#pieces, this.#length);
    this.#pieces = [];
    this.#length = 0;
    try {
      return new TextDecoder('utf-8', { fatal: true }).decode(bytes);
    } catch (error) {
      throw ferryError('QMP_PROTOCOL', { why: 'a message that is not UTF-8' }, { cause: error });
    }
  }
}

function garbage(bytes: Buffer): Error {
  const text = bytes
    .subarray(0, 60)
    .toString('latin1')
    .replaceAll(/\s+/g, ' ')
    .replaceAll(/[^\x20-\x7e]/g, '.');
  const hint = /^QEMU .* monitor/.test(text) ? ' (this is the human monitor, HMP)' : '';
  return ferryError('QMP_PROTOCOL', { why: `bytes that are not QMP: '${text.trim()}'${hint}` });
}
