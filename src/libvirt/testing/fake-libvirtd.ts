/**
 * A libvirtd whose every byte a test decides, for what a real one cannot be made to do: bytes in pieces, replies that are
 * none, a connection that ends at an exact moment. Everything else is tested on the real one.
 */
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { createServer, type Server, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { LibvirtClient, type LibvirtConnectOptions } from '../client.ts';
import { type Frame, parseFrame } from '../wire/frame.ts';
import { FrameSplitter } from '../wire/frame-splitter.ts';
import { authListReply, featureReply, openReply } from './recorded-bytes.ts';

/** The server's end of one connection. */
export class FakeConnection {
  readonly #socket: Socket;
  readonly #splitter = new FrameSplitter();
  readonly #frames: (Frame & { readonly bytes: Buffer })[] = [];
  readonly #waiting: ((frame: Frame & { readonly bytes: Buffer }) => void)[] = [];

  constructor(socket: Socket) {
    this.#socket = socket;
    socket.on('data', (chunk) => {
      for (const bytes of this.#splitter.push(Buffer.from(chunk))) {
        const frame = { ...parseFrame(bytes), bytes };
        const waiting = this.#waiting.shift();
        if (waiting) waiting(frame);
        else this.#frames.push(frame);
      }
    });
    socket.on('error', () => undefined);
  }

  /** Messages that came and that no `message()` has taken. */
  get backlog(): number {
    return this.#frames.length;
  }

  /** The next message that the client sends. */
  async message(): Promise<Frame & { readonly bytes: Buffer }> {
    return this.#frames.shift() ?? (await new Promise((resolve) => void this.#waiting.push(resolve)));
  }

  send(bytes: Buffer): void {
    this.#socket.write(bytes);
  }

  end(): void {
    this.#socket.end();
  }

  /** Resolves when the client has closed. */
  async closed(): Promise<void> {
    if (!this.#socket.closed) await once(this.#socket, 'close');
  }
}

export class FakeLibvirtd implements AsyncDisposable {
  readonly uri: string;
  readonly #folder: string;
  readonly #server: Server;
  readonly #sockets: Socket[] = [];
  readonly #accepted: FakeConnection[] = [];
  readonly #waiting: ((connection: FakeConnection) => void)[] = [];

  private constructor(folder: string) {
    this.#folder = folder;
    this.uri = `test+unix:///default?socket=${join(folder, 'libvirt-sock')}`;
    this.#server = createServer((socket) => {
      this.#sockets.push(socket);
      const connection = new FakeConnection(socket);
      const waiting = this.#waiting.shift();
      if (waiting) waiting(connection);
      else this.#accepted.push(connection);
    });
  }

  static async start(): Promise<FakeLibvirtd> {
    const folder = mkdtempSync(join(tmpdir(), 'fake-libvirtd-'));
    const fake = new FakeLibvirtd(folder);
    fake.#server.listen(join(folder, 'libvirt-sock'));
    await once(fake.#server, 'listening');
    return fake;
  }

  /** The next client. */
  async accept(): Promise<FakeConnection> {
    return this.#accepted.shift() ?? (await new Promise((resolve) => void this.#waiting.push(resolve)));
  }

  /** A client that has opened its driver, and the server's end of its connection. */
  async connect(
    options: LibvirtConnectOptions = {},
  ): Promise<{ readonly client: LibvirtClient; readonly server: FakeConnection }> {
    const connecting = LibvirtClient.connect(this.uri, { keepAlive: { intervalMs: 0, count: 0 }, ...options });
    const server = await this.accept();
    server.send(authListReply((await server.message()).serial));
    server.send(featureReply((await server.message()).serial));
    server.send(openReply((await server.message()).serial));
    return { client: await connecting, server };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const socket of this.#sockets) socket.destroy();
    this.#server.close();
    await once(this.#server, 'close');
    rmSync(this.#folder, { recursive: true, force: true });
  }
}
