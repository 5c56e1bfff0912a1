import { EventEmitter } from 'node:events';
import { PassThrough } from 'node:stream';
import type { ReadStream } from 'node:tty';
import { beforeEach, expect, test } from 'vitest';
import { Interrupts } from './interrupts.ts';
import { HeldClock } from './testing/held-clock.ts';
import { Screen } from './testing/screen.ts';
import { Written } from './testing/written.ts';
import { TextRenderer } from './terminal/text-renderer.ts';

let signals: EventEmitter;
let screen: Screen;
let renderer: TextRenderer;
let keys: PassThrough & { raw?: boolean };
let stdin: ReadStream;
let done: string[];
const driven = { abort: (): void => void done.push('abort'), leave: (): void => void done.push('leave') };

beforeEach(() => {
  signals = new EventEmitter();
  screen = new Screen();
  renderer = new TextRenderer({
    stdout: screen,
    stderr: new Written(),
    clock: new HeldClock(),
    live: true,
    color: false,
  });
  keys = new PassThrough();
  stdin = Object.assign(keys, { setRawMode: (raw: boolean) => (keys.raw = raw) }) as unknown as ReadStream;
  done = [];
});

async function press(key: string): Promise<void> {
  keys.write(key);
  await new Promise((resolve) => void setImmediate(resolve));
}

test('Ctrl-C asks, and any other key than the three is not an answer', async () => {
  using _ = new Interrupts(driven, renderer, stdin, signals);
  signals.emit('SIGINT');
  expect(screen.shown.at(-1)).toBe('[a]bort and roll back, [l]eave it mirrored and stop driving, [c]ontinue?');
  expect(keys.raw).toBe(true);
  await press('x\r');
  expect(done).toEqual([]);
  await press('c');
  expect([done, keys.raw, screen.shown]).toEqual([[], false, ['going on']]);
  signals.emit('SIGINT');
  await press('L');
  expect([done, keys.raw, screen.shown]).toEqual([['leave'], false, ['going on']]);
});

test.each(['a', '\u0003'])('%j while it asks means abort', async (key) => {
  using _ = new Interrupts(driven, renderer, stdin, signals);
  signals.emit('SIGINT');
  await press(key);
  expect([done, keys.raw]).toEqual([['abort'], false]);
});

test('a second SIGINT from elsewhere while it asks, and SIGTERM always, mean abort', () => {
  using _ = new Interrupts(driven, renderer, stdin, signals);
  signals.emit('SIGINT');
  signals.emit('SIGINT');
  signals.emit('SIGTERM');
  expect([done, keys.raw]).toEqual([['abort', 'abort'], false]);
});

test('without a terminal SIGINT aborts at once, and SIGHUP leaves', () => {
  using _ = new Interrupts(driven, renderer, undefined, signals);
  signals.emit('SIGINT');
  signals.emit('SIGHUP');
  expect(done).toEqual(['abort', 'leave']);
});

test('when the migration ends, the question and the handlers go', () => {
  {
    using _ = new Interrupts(driven, renderer, stdin, signals);
    signals.emit('SIGINT');
  }
  expect([screen.shown, keys.raw, signals.eventNames()]).toEqual([[], false, []]);
});
