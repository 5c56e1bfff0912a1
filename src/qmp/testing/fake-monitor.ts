/** A monitor for unit tests that says exactly the bytes that a test tells it to say. */
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { createServer, type Server, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { QmpClient, type ConnectOptions } from '../client.ts';
import { emptyReturn, GREETING } from './recorded-bytes.ts';

export interface SentCommand {
  readonly execute?: string;
  readonly 'exec-oob'?: string;
  readonly arguments: Readonly<Record<string, unknown>>;
  readonly id: string;
  /** The line as it came. */
  readonly line: string;
}

/** The server's end of one connection. */
export class FakeConnection {
  readonly #socket: Socket;
  readonly #commands: SentCommand[] = [];
  readonly #waiting: ((command: SentCommand) => void)[] = [];
  #text = '';

  constructor(socket: Socket) {
    this.#socket = socket;
    socket.setEncoding('utf8').on('data', (text) => this.#receive(text.toString()));
    socket.on('error', () => undefined);
  }

  /** Resolves when the client has closed. */
  async closed(): Promise<void> {
    if (!this.#socket.closed) await once(this.#socket, 'close');
  }

  /** How many commands came that no `command()` has taken. */
  get backlog(): number {
    return this.#commands.length;
  }

  /** The next command that the client sends. */
  async command(): Promise<SentCommand> {
    const command = this.#commands.shift();
    return command ?? (await new Promise((resolve) => void this.#waiting.push(resolve)));
  }

  send(bytes: string | Buffer): void {
    this.#socket.write(bytes);
  }

  /** Closes in order, as QEMU does at `quit`. */
  end(): void {
    this.#socket.end();
  }

  #receive(text: string): void {
    this.#text += text;
    const lines = this.#text.split('\n');
    this.#text = lines.pop() ?? '';
    for (const line of lines) {
      const command: SentCommand = { ...(JSON.parse(line) as SentCommand), line };
      const waiting = this.#waiting.shift();
      if (waiting) waiting(command);
      else this.#commands.push(command);
    }
  }
}

export class FakeMonitor implements AsyncDisposable {
  readonly path: string;
  readonly #directory: string;
  readonly #server: Server;
  readonly #sockets: Socket[] = [];
  readonly #accepted: FakeConnection[] = [];
  readonly #waiting: ((connection: FakeConnection) => void)[] = [];

  private constructor(directory: string, greeting: string) {
    this.#directory = directory;
    this.path = join(directory, 'qmp.sock');
    this.#server = createServer((socket) => {
      this.#sockets.push(socket);
      const connection = new FakeConnection(socket);
      connection.send(greeting);
      const waiting = this.#waiting.shift();
      if (waiting) waiting(connection);
      else this.#accepted.push(connection);
    });
  }

  static async start(greeting: string = GREETING): Promise<FakeMonitor> {
    const fake = new FakeMonitor(mkdtempSync(join(tmpdir(), 'fake-qmp-')), greeting);
    fake.#server.listen(fake.path);
    await once(fake.#server, 'listening');
    return fake;
  }

  /** The next client. */
  async accept(): Promise<FakeConnection> {
    const connection = this.#accepted.shift();
    return connection ?? (await new Promise((resolve) => void this.#waiting.push(resolve)));
  }

  /** A client that has negotiated, and the server's end of its connection. */
  async connect(options: ConnectOptions = {}): Promise<{ client: QmpClient; server: FakeConnection }> {
    const connecting = QmpClient.connect({ path: this.path }, options);
    const server = await this.accept();
    server.send(emptyReturn((await server.command()).id));
    return { client: await connecting, server };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const socket of this.#sockets) socket.destroy();
    this.#server.close();
    await once(this.#server, 'close');
    rmSync(this.#directory, { recursive: true, force: true });
  }
}
