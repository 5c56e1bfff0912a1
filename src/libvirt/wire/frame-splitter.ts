import { ferryError } from '../../base/index.ts';
import { LENGTH_BYTES, LONGEST_FRAME, SHORTEST_FRAME } from './frame.ts';

/** Cuts the byte stream of a connection into messages. */
export class FrameSplitter {
  #pieces: Buffer[] = [];
  #length = 0;
  /** Bytes of the message that is under way, length included; undefined while not even its length is here. */
  #wanted: number | undefined;

  /** Whether part of a message has come and its end has not. */
  get inMessage(): boolean {
    return this.#length > 0;
  }

  /**
   * Takes the next bytes and yields each message that they complete, whole, with its length in front.
   * @throws FerryError LIBVIRT_PROTOCOL: a length that no message has. The splitter cannot be used after that.
   */
  *push(chunk: Buffer): Generator<Buffer, void> {
    this.#pieces.push(chunk);
    this.#length += chunk.length;
    while (true) {
      if (this.#wanted === undefined) {
        if (this.#length < LENGTH_BYTES) return;
        const all = this.#joined();
        this.#wanted = all.readUInt32BE(0);
        if (this.#wanted < SHORTEST_FRAME || this.#wanted > LONGEST_FRAME) throw garbage(all, this.#wanted);
      }
      if (this.#length < this.#wanted) return;
      const all = this.#joined();
      const frame = all.subarray(0, this.#wanted);
      this.#pieces = [all.subarray(this.#wanted)];
      this.#length -= this.#wanted;
      this.#wanted = undefined;
      yield frame;
    }
  }

  #joined(): Buffer {
    const [first] = this.#pieces;
    if (this.#pieces.length === 1 && first) return first;
    const all = Buffer.concat(this.#pieces, this.#length);
    this.#pieces = [all];
    return all;
  }
}

/** What is no libvirt often is a text: a shell that greets, an error of ssh, another server. */
function garbage(bytes: Buffer, length: number): Error {
  const text = bytes.subarray(0, 80).toString('latin1');
  const readable = /^[\x20-\x7e\s]{8}/.test(text);
  const said = text.replaceAll(/[^\x20-\x7e]+/g, ' ').trim();
  return ferryError('LIBVIRT_PROTOCOL', {
    why: readable ? `it sent a text: '${said}'` : `a message of ${length} bytes`,
  });
}
