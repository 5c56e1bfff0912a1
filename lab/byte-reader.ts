import type { Socket } from 'node:net';

/**
 * Hands out the bytes of a socket in the pieces asked for. One reader at a time. `lost` makes the
 * error that `take` rejects with when the socket has ended before enough came.
 */
export class ByteReader {
  readonly #socket: Socket;
  #chunks: Buffer[] = [];
  #available = 0;
  #wanted: { length: number; resolve: (data: Buffer) => void; reject: (error: Error) => void } | undefined;
  #end: Error | undefined;

  constructor(socket: Socket, lost: (cause: unknown) => Error) {
    this.#socket = socket;
    let cause: unknown;
    socket.on('data', (chunk: Buffer) => {
      this.#chunks.push(chunk);
      this.#available += chunk.length;
      this.#serve();
    });
    socket.on('error', (error) => {
      cause = error;
    });
    socket.on('end', () => socket.destroy());
    socket.on('close', () => {
      this.#end = lost(cause);
      this.#serve();
    });
  }

  take(length: number): Promise<Buffer> {
    return new Promise((resolve, reject) => {
      this.#wanted = { length, resolve, reject };
      this.#serve();
    });
  }

  #serve(): void {
    const wanted = this.#wanted;
    if (!wanted) return;
    if (this.#available >= wanted.length) {
      this.#wanted = undefined;
      wanted.resolve(this.#cut(wanted.length));
    } else if (this.#end) {
      this.#wanted = undefined;
      this.#socket.destroy();
      wanted.reject(this.#end);
    }
  }

  #cut(length: number): Buffer {
    this.#available -= length;
    const parts: Buffer[] = [];
    let missing = length;
    let used = 0;
    while (missing > 0) {
      const chunk = this.#chunks[used] as Buffer;
      const part = chunk.subarray(0, missing);
      parts.push(part);
      missing -= part.length;
      if (part.length === chunk.length) used += 1;
      else this.#chunks[used] = chunk.subarray(part.length);
    }
    this.#chunks.splice(0, used);
    return parts.length === 1 ? (parts[0] as Buffer) : Buffer.concat(parts, length);
  }
}
