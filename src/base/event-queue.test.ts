import { expect, test } from 'vitest';
import { EventQueue } from './event-queue.ts';
import { ferryError } from './ferry-error.ts';

interface TimedEvent {
  readonly event: string;
  readonly timestamp: { readonly seconds: number };
}

function event(seconds: number): TimedEvent {
  return { event: 'STOP', timestamp: { seconds } };
}

function open(): EventQueue<TimedEvent> {
  return new EventQueue('STOP', () => undefined);
}

test('events come out in the order in which they went in, to callers in turn', async () => {
  const queue = open();
  const [first, second] = [queue.next(), queue.next()];
  for (const seconds of [1, 2, 3]) queue.offer(event(seconds));
  expect([await first, await second, await queue.next()]).toEqual([event(1), event(2), event(3)]);
});

test('a wait that is given up takes no event', async () => {
  const queue = open();
  await expect(queue.next({ timeoutMs: 5 })).rejects.toMatchObject({ code: 'NO_EVENT' });
  const abort = new AbortController();
  const aborted = queue.next({ signal: abort.signal });
  abort.abort(new Error('enough'));
  await expect(aborted).rejects.toThrow('enough');
  queue.offer(event(1));
  expect(await queue.next()).toEqual(event(1));
});

test('many events: none is lost, the last 1000 that were taken are remembered', async () => {
  const queue = open();
  for (let seconds = 0; seconds < 5000; seconds += 1) queue.offer(event(seconds));
  for (let seconds = 0; seconds < 5000; seconds += 1) {
    expect((await queue.next()).timestamp.seconds).toBe(seconds);
    if (seconds % 2 === 0) queue.offer(event(5000 + seconds / 2));
  }
  expect(queue.length).toBe(2500);
  expect(queue.history).toHaveLength(1000);
  expect(queue.history.at(-1)).toEqual(event(4999));
});

test('a flood ends the queue loudly, after what it holds', async () => {
  const queue = open();
  const flood = event(1);
  for (let count = 0; count <= 1_000_000; count += 1) queue.offer(flood);
  expect(queue.length).toBe(1_000_000);
  let taken = 0;
  await expect(
    (async () => {
      for await (const _ of queue) taken += 1;
    })(),
  ).rejects.toMatchObject({ code: 'EVENTS_LOST' });
  expect(taken).toBe(1_000_000);
});

test('iteration fails when the connection ends, and just stops when the queue is disposed', async () => {
  const lost = open();
  lost.offer(event(1));
  lost.end(ferryError('QMP_INTERRUPTED', { address: 'a', why: 'b', outcome: 'c' }));
  const seen: TimedEvent[] = [];
  const iterate = async (queue: EventQueue<TimedEvent>): Promise<void> => {
    for await (const one of queue) seen.push(one);
  };
  await expect(iterate(lost)).rejects.toMatchObject({ code: 'QMP_INTERRUPTED' });
  expect(seen).toEqual([event(1)]);
  const queue = open();
  const iterating = iterate(queue);
  queue[Symbol.dispose]();
  await iterating;
  await expect(queue.next()).rejects.toMatchObject({ code: 'ABORTED' });
});
