import { connect, type Socket } from 'node:net';
import { ByteReader } from './byte-reader.ts';

const INIT_MAGIC = 0x4e42444d41474943n; // "NBDMAGIC"
const OPTION_MAGIC = 0x49484156454f5054n; // "IHAVEOPT"
const OPTION_REPLY_MAGIC = 0x0003e889045565a9n;
const REQUEST_MAGIC = 0x25609513;
const SIMPLE_REPLY_MAGIC = 0x67446698;

const FLAG_FIXED_NEWSTYLE = 1;
const FLAG_NO_ZEROES = 2;
const OPT_GO = 7;
const REP_ACK = 1;
const REP_INFO = 3;
const REP_ERROR_BIT = 2 ** 31;
const INFO_EXPORT = 0;
const INFO_BLOCK_SIZE = 3;

const COMMAND = { read: 0, write: 1, disconnect: 2, flush: 3, trim: 4, writeZeroes: 6 } as const;
const COMMAND_FLAG_FUA = 1;
const COMMAND_FLAG_NO_HOLE = 2;

const TRANSMISSION = { readOnly: 2, flush: 4, fua: 8, trim: 32, writeZeroes: 64 } as const;

/** The errors of the protocol, which are the same numbers on every system. */
const ERRNO: Readonly<Record<number, string>> = {
  1: 'EPERM',
  5: 'EIO',
  12: 'ENOMEM',
  22: 'EINVAL',
  28: 'ENOSPC',
  75: 'EOVERFLOW',
  95: 'ENOTSUP',
  108: 'ESHUTDOWN',
};

/** A failed request, or a lost connection (`ECONNRESET`: whether a request in flight was done is then unknown). */
export class NbdError extends Error {
  readonly code: string;

  constructor(code: string, message: string, cause?: unknown) {
    super(`${code}: ${message}`, { cause });
    this.name = 'NbdError';
    this.code = code;
  }
}

/** What the server said of the export. Sizes in bytes. */
export interface NbdExportInfo {
  readonly size: number;
  readonly readOnly: boolean;
  readonly canFlush: boolean;
  readonly canFua: boolean;
  readonly canTrim: boolean;
  readonly canWriteZeroes: boolean;
  /** Offsets and lengths must be multiples of it. 1 where the server says nothing. */
  readonly minimumBlock: number;
  /** The longest single request. 32 MiB where the server says nothing, as the protocol has it. */
  readonly maximumBlock: number;
}

interface Pending {
  readonly what: string;
  /** How many bytes follow a good reply. */
  readonly length: number;
  readonly resolve: (data: Buffer) => void;
  readonly reject: (error: Error) => void;
}

async function negotiate(socket: Socket, reader: ByteReader, exportName: string): Promise<NbdExportInfo> {
  const hello = await reader.take(18);
  if (hello.readBigUInt64BE(0) !== INIT_MAGIC || hello.readBigUInt64BE(8) !== OPTION_MAGIC) {
    throw new NbdError('EPROTO', 'the server does not speak the fixed newstyle of NBD');
  }
  const serverFlags = hello.readUInt16BE(16);
  if (!(serverFlags & FLAG_FIXED_NEWSTYLE)) throw new NbdError('EPROTO', 'the server lacks the fixed newstyle of NBD');
  const name = Buffer.from(exportName);
  const go = Buffer.alloc(4 + 16 + 4 + name.length + 4);
  go.writeUInt32BE(FLAG_FIXED_NEWSTYLE | (serverFlags & FLAG_NO_ZEROES), 0);
  go.writeBigUInt64BE(OPTION_MAGIC, 4);
  go.writeUInt32BE(OPT_GO, 12);
  go.writeUInt32BE(go.length - 20, 16);
  go.writeUInt32BE(name.length, 20);
  name.copy(go, 24);
  go.writeUInt16BE(1, 24 + name.length);
  go.writeUInt16BE(INFO_BLOCK_SIZE, 26 + name.length);
  socket.write(go);

  let size = 0;
  let flags: number | undefined;
  let minimumBlock = 1;
  let maximumBlock = 2 ** 25;
  for (;;) {
    const head = await reader.take(20);
    if (head.readBigUInt64BE(0) !== OPTION_REPLY_MAGIC) throw new NbdError('EPROTO', 'not a reply to NBD_OPT_GO');
    const type = head.readUInt32BE(12);
    const data = await reader.take(head.readUInt32BE(16));
    if (type === REP_ACK) break;
    if (type >= REP_ERROR_BIT) {
      const why = data.toString() || `reply ${type - REP_ERROR_BIT}`;
      throw new NbdError('ENOENT', `the server refuses the export '${exportName}': ${why}`);
    }
    if (type !== REP_INFO) continue;
    const info = data.readUInt16BE(0);
    if (info === INFO_EXPORT) {
      size = Number(data.readBigUInt64BE(2));
      flags = data.readUInt16BE(10);
    } else if (info === INFO_BLOCK_SIZE) {
      minimumBlock = data.readUInt32BE(2);
      maximumBlock = data.readUInt32BE(10);
    }
  }
  if (flags === undefined) throw new NbdError('EPROTO', 'the server did not describe the export');
  const has = (bit: number): boolean => (flags & bit) !== 0;
  return {
    size,
    readOnly: has(TRANSMISSION.readOnly),
    canFlush: has(TRANSMISSION.flush),
    canFua: has(TRANSMISSION.fua),
    canTrim: has(TRANSMISSION.trim),
    canWriteZeroes: has(TRANSMISSION.writeZeroes),
    minimumBlock,
    maximumBlock,
  };
}

/**
 * A client of one NBD export over a unix socket: fixed newstyle, simple replies, many requests in flight. For tests and
 * the recording writer, which must know exactly which write was acknowledged.
 *
 * Every request rejects with `NbdError`: the server's errno by name, or `ECONNRESET` when the connection is lost.
 * The caller keeps requests within the export and its block sizes.
 */
export class NbdClient implements AsyncDisposable {
  readonly info: NbdExportInfo;
  readonly #socket: Socket;
  readonly #reader: ByteReader;
  readonly #pending = new Map<bigint, Pending>();
  readonly #done: Promise<void>;
  #handle = 0n;
  #lost: Error | undefined;

  private constructor(socket: Socket, reader: ByteReader, info: NbdExportInfo) {
    this.#socket = socket;
    this.#reader = reader;
    this.info = info;
    this.#done = this.#receive();
  }

  /** Connects and chooses the export. The signal ends the attempt (a stopped server never answers). */
  static async connect(path: string, exportName = '', signal?: AbortSignal): Promise<NbdClient> {
    signal?.throwIfAborted();
    const socket = connect(path);
    const reader = new ByteReader(
      socket,
      (cause) => new NbdError('ECONNRESET', 'the NBD connection was closed', cause),
    );
    const onAbort = (): void => void socket.destroy();
    signal?.addEventListener('abort', onAbort, { once: true });
    try {
      return new NbdClient(socket, reader, await negotiate(socket, reader, exportName));
    } catch (error) {
      socket.destroy();
      throw signal?.aborted ? signal.reason : error;
    } finally {
      signal?.removeEventListener('abort', onAbort);
    }
  }

  /** The bytes from `offset` on. The buffer is the caller's. */
  read(offset: number, length: number): Promise<Buffer> {
    return this.#request(COMMAND.read, offset, length, 0, undefined, length);
  }

  /** Writes; with `fua` the acknowledgement means that it is on stable storage. The buffer may be reused afterwards. */
  async write(offset: number, data: Buffer, options: { readonly fua?: boolean } = {}): Promise<void> {
    await this.#request(COMMAND.write, offset, data.length, options.fua ? COMMAND_FLAG_FUA : 0, data);
  }

  async flush(): Promise<void> {
    await this.#request(COMMAND.flush, 0, 0, 0);
  }

  /** Discards: what a read gives there afterwards is not defined by the protocol. */
  async trim(offset: number, length: number, options: { readonly fua?: boolean } = {}): Promise<void> {
    await this.#request(COMMAND.trim, offset, length, options.fua ? COMMAND_FLAG_FUA : 0);
  }

  /** Writes zeroes; with `noHole` the space stays allocated. */
  async writeZeroes(
    offset: number,
    length: number,
    options: { readonly fua?: boolean; readonly noHole?: boolean } = {},
  ): Promise<void> {
    const flags = (options.fua ? COMMAND_FLAG_FUA : 0) | (options.noHole ? COMMAND_FLAG_NO_HOLE : 0);
    await this.#request(COMMAND.writeZeroes, offset, length, flags);
  }

  /** Cuts the connection at once: requests in flight reject, and whether they were done is unknown. */
  destroy(): void {
    this.#socket.destroy();
  }

  /** Says goodbye where nothing is in flight, else cuts the connection. */
  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#pending.size === 0 && !this.#lost) {
      this.#socket.write(this.#header(COMMAND.disconnect, 0n, 0, 0, 0));
      this.#socket.end();
    }
    this.#socket.destroySoon();
    if (this.#pending.size > 0) this.#socket.destroy();
    await this.#done;
  }

  #header(command: number, handle: bigint, offset: number, length: number, flags: number): Buffer {
    const header = Buffer.allocUnsafe(28);
    header.writeUInt32BE(REQUEST_MAGIC, 0);
    header.writeUInt16BE(flags, 4);
    header.writeUInt16BE(command, 6);
    header.writeBigUInt64BE(handle, 8);
    header.writeBigUInt64BE(BigInt(offset), 16);
    header.writeUInt32BE(length, 24);
    return header;
  }

  #request(
    command: number,
    offset: number,
    length: number,
    flags: number,
    payload?: Buffer,
    replyLength = 0,
  ): Promise<Buffer> {
    if (this.#lost) return Promise.reject(this.#lost);
    const handle = (this.#handle += 1n);
    const name = Object.entries(COMMAND).find(([, value]) => value === command)?.[0] ?? String(command);
    return new Promise((resolve, reject) => {
      this.#pending.set(handle, { what: `${name} of ${length} at ${offset}`, length: replyLength, resolve, reject });
      this.#socket.cork();
      this.#socket.write(this.#header(command, handle, offset, length, flags));
      if (payload) this.#socket.write(payload);
      this.#socket.uncork();
    });
  }

  async #receive(): Promise<void> {
    try {
      for (;;) {
        const head = await this.#reader.take(16);
        if (head.readUInt32BE(0) !== SIMPLE_REPLY_MAGIC) throw new NbdError('EPROTO', 'not a simple NBD reply');
        const handle = head.readBigUInt64BE(8);
        const pending = this.#pending.get(handle);
        if (!pending) throw new NbdError('EPROTO', `a reply to request ${handle}, which was not asked`);
        const error = head.readUInt32BE(4);
        if (error !== 0) {
          this.#pending.delete(handle);
          pending.reject(new NbdError(ERRNO[error] ?? `errno ${error}`, pending.what));
          continue;
        }
        const data = await this.#reader.take(pending.length);
        this.#pending.delete(handle);
        pending.resolve(data);
      }
    } catch (error) {
      this.#lost = error as Error;
      this.#socket.destroy();
      for (const pending of this.#pending.values()) pending.reject(this.#lost);
      this.#pending.clear();
    }
  }
}
