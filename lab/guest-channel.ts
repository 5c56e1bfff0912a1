import { connect, type Socket } from 'node:net';
import { LabError } from './requires.ts';

const FRAME_HEADER = 9;

/** A command that runs in the guest. */
export interface GuestCommand {
  /** Standard output and error so far. */
  output(): string;
  /** Resolves with its exit status (128 + the signal that ended it). Rejects when the guest is gone before. */
  readonly ended: Promise<number>;
  /** Sends a signal to the command and all that it started. */
  signal(name: 'TERM' | 'KILL'): void;
}

interface Running {
  output: Buffer[];
  end: (status: number) => void;
  fail: (error: Error) => void;
}

/** The host's side of the command channel; guest/agent.pl is the other side and says what the frames are. */
export class GuestChannel {
  readonly #socket: Socket;
  readonly #running = new Map<number, Running>();
  #received: Buffer = Buffer.alloc(0);
  #nextId = 1;
  #gone = false;
  /** Resolves when the guest's agent has answered. Rejects when the channel is closed before. */
  readonly ready: Promise<void>;
  #onReady: () => void = () => undefined;
  #onNeverReady: (error: Error) => void = () => undefined;

  /** @param path the socket of the channel, on which QEMU listens already */
  constructor(path: string) {
    this.ready = new Promise((resolve, reject) => {
      this.#onReady = resolve;
      this.#onNeverReady = reject;
    });
    this.ready.catch(() => undefined); // whoever waits for it hears of it
    this.#socket = connect(path);
    this.#socket.on('data', (bytes: Buffer) => this.#take(bytes));
    this.#socket.on('error', () => undefined); // 'close' follows
    this.#socket.on('close', () => this.#lost());
    // It stays in QEMU until the guest's agent opens its port.
    this.#send('H', 0, '');
  }

  #send(type: string, id: number, payload: string): void {
    const bytes = Buffer.from(payload);
    const header = Buffer.alloc(FRAME_HEADER);
    header.write(type, 0, 'latin1');
    header.writeUInt32BE(id, 1);
    header.writeUInt32BE(bytes.length, 5);
    this.#socket.write(Buffer.concat([header, bytes]));
  }

  #take(bytes: Buffer): void {
    this.#received = Buffer.concat([this.#received, bytes]);
    while (this.#received.length >= FRAME_HEADER) {
      const end = FRAME_HEADER + this.#received.readUInt32BE(5);
      if (this.#received.length < end) return;
      const [type, id] = [this.#received.toString('latin1', 0, 1), this.#received.readUInt32BE(1)];
      const payload = this.#received.subarray(FRAME_HEADER, end);
      this.#received = this.#received.subarray(end);
      if (type === 'h') this.#onReady();
      else if (type === 'o') this.#running.get(id)?.output.push(payload);
      else if (type === 'x') {
        this.#running.get(id)?.end(Number(payload.toString()));
        this.#running.delete(id);
      }
    }
  }

  #lost(): void {
    this.#gone = true;
    const error = new LabError('the guest is gone');
    this.#onNeverReady(error);
    for (const command of this.#running.values()) command.fail(error);
    this.#running.clear();
  }

  /** Starts a command under the guest's `sh`. Any number run at once. */
  start(command: string): GuestCommand {
    const id = this.#nextId;
    this.#nextId += 1;
    const output: Buffer[] = [];
    const ended = new Promise<number>((end, fail) => {
      if (this.#gone) fail(new LabError('the guest is gone'));
      else this.#running.set(id, { output, end, fail });
    });
    ended.catch(() => undefined); // whoever waits for it hears of it
    if (!this.#gone) this.#send('R', id, command);
    return {
      output: () => Buffer.concat(output).toString(),
      ended,
      signal: (name) => {
        if (!this.#gone) this.#send('S', id, name);
      },
    };
  }

  close(): void {
    this.#socket.destroy();
  }
}
