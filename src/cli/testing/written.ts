import { Writable } from 'node:stream';

/** A stream that keeps what is written to it. */
export class Written extends Writable {
  text = '';

  constructor() {
    super({ decodeStrings: false });
  }

  get lines(): string[] {
    return this.text.split('\n').filter((line) => line !== '');
  }

  override _write(text: string, _: BufferEncoding, done: () => void): void {
    this.text += text;
    done();
  }
}
