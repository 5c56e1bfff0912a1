import { Buffer } from 'node:buffer';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { FerryError } from '../base/index.ts';
import { QmpClient } from './client.ts';
import { isQmpCommandError, isQmpConnectionLost } from './errors.ts';
import { FakeMonitor } from './testing/fake-monitor.ts';
import {
  emptyReturn,
  GREETING,
  HMP_BANNER,
  PARSE_ERROR,
  PRETTY_GREETING,
  resumeEvent,
  statusReturn,
  unknownCommand,
} from './testing/recorded-bytes.ts';

/** The error that a promise rejects with. */
async function failure(promise: Promise<unknown>): Promise<FerryError> {
  const error: unknown = await promise.then(
    (value) => new Error(`resolved with ${JSON.stringify(value)}`),
    (reason: unknown) => reason,
  );
  if (error instanceof FerryError) return error;
  throw error;
}

describe('connecting', () => {
  test('greets, negotiates out of band, and is ready', async () => {
    await using fake = await FakeMonitor.start();
    const connecting = QmpClient.connect({ path: fake.path });
    const server = await fake.accept();
    const { execute, arguments: args, id } = await server.command();
    expect({ execute, args }).toEqual({ execute: 'qmp_capabilities', args: { enable: ['oob'] } });
    server.send(emptyReturn(id));
    await using client = await connecting;
    expect(client.greeting.version.qemu).toEqual({ major: 7, minor: 2, micro: 22 });
    expect({ state: client.state, oob: client.oob }).toEqual({ state: 'ready', oob: true });
  });

  test('does not enable out of band where it is not offered, or not wanted', async () => {
    await using old = await FakeMonitor.start(GREETING.replace('["oob"]', '[]'));
    await using without = (await old.connect()).client;
    expect(without.oob).toBe(false);
    await using fake = await FakeMonitor.start();
    await using unwanted = (await fake.connect({ oob: false })).client;
    expect(unwanted.oob).toBe(false);
    expect(await failure(unwanted.execute('query-yank', {}, { oob: true }))).toMatchObject({ code: 'QMP_NO_OOB' });
  });

  test('a pretty monitor', async () => {
    await using fake = await FakeMonitor.start(PRETTY_GREETING);
    await using client = (await fake.connect()).client;
    expect(client.state).toBe('ready');
  });

  test('no greeting within the limit: somebody else has the monitor', async () => {
    await using fake = await FakeMonitor.start('');
    const error = await failure(QmpClient.connect({ path: fake.path }, { connectTimeoutMs: 20 }));
    expect(error.code).toBe('QMP_BUSY');
    expect(error.message).toContain('another client holds it');
    await (await fake.accept()).closed();
  });

  test('no such socket, and a file that nobody listens on', async () => {
    await using fake = await FakeMonitor.start();
    expect(await failure(QmpClient.connect({ path: `${fake.path}x` }))).toMatchObject({ code: 'QMP_NO_SOCKET' });
    const file = join(fake.path, '..', 'file');
    writeFileSync(file, '');
    expect(await failure(QmpClient.connect({ path: file }))).toMatchObject({ code: 'QMP_REFUSED' });
  });

  test('a path that no socket address can hold', async () => {
    const error = await failure(QmpClient.connect({ path: `/tmp/${'x'.repeat(120)}` }));
    expect(error.message).toMatch(/longer than a socket address/);
  });

  test('the human monitor', async () => {
    await using fake = await FakeMonitor.start(HMP_BANNER);
    const error = await failure(QmpClient.connect({ path: fake.path }));
    expect(error.code).toBe('QMP_PROTOCOL');
    expect(error.message).toContain('HMP');
  });

  test('refused capabilities are an error, not a session', async () => {
    await using fake = await FakeMonitor.start();
    const connecting = QmpClient.connect({ path: fake.path });
    const server = await fake.accept();
    server.send(unknownCommand((await server.command()).id));
    expect(isQmpCommandError(await failure(connecting), 'CommandNotFound')).toBe(true);
    await server.closed();
  });

  test('an abort ends the attempt and closes the connection', async () => {
    await using fake = await FakeMonitor.start('');
    const abort = new AbortController();
    const connecting = QmpClient.connect({ path: fake.path }, { signal: abort.signal });
    const server = await fake.accept();
    abort.abort(new Error('enough'));
    await expect(connecting).rejects.toThrow('enough');
    await server.closed();
  });

  test('the peer closes instead of greeting', async () => {
    await using fake = await FakeMonitor.start('');
    const connecting = QmpClient.connect({ path: fake.path });
    (await fake.accept()).end();
    expect(await failure(connecting)).toMatchObject({ code: 'QMP_INTERRUPTED' });
  });

  test("the late answer to a former client's command comes before the greeting", async () => {
    await using fake = await FakeMonitor.start(emptyReturn('former-1') + GREETING);
    await using client = (await fake.connect()).client;
    expect(client.state).toBe('ready');
  });
});

describe('commands', () => {
  test('answers in any order reach their callers', async () => {
    await using fake = await FakeMonitor.start();
    const { client, server } = await fake.connect();
    const status = client.execute('query-status');
    const stop = client.execute('stop');
    const first = await server.command();
    const second = await server.command();
    server.send(emptyReturn(second.id) + statusReturn(first.id));
    expect(await stop).toEqual({});
    expect(await status).toEqual({ status: 'prelaunch', singlestep: false, running: false });
    client.close();
  });

  test('a refusal has the class, the text, what was sent and what was received', async () => {
    await using fake = await FakeMonitor.start();
    const { client, server } = await fake.connect();
    const failing = failure(client.executeRaw('query-statuz', { a: 1 }));
    const { id } = await server.command();
    server.send(unknownCommand(id));
    const error = await failing;
    expect(isQmpCommandError(error, 'CommandNotFound')).toBe(true);
    expect(isQmpCommandError(error, 'GenericError')).toBe(false);
    expect(error.fields['desc']).toBe('The command query-statuz has not been found');
    expect(error.details).toMatchObject({
      sent: { execute: 'query-statuz', arguments: { a: 1 }, id },
      received: { error: { class: 'CommandNotFound' }, id },
    });
    client.close();
  });

  test('a bigint is sent and received digit by digit', async () => {
    await using fake = await FakeMonitor.start();
    const { client, server } = await fake.connect();
    const answer = client.executeRaw('x', { size: 9007199254740993n });
    const { id, line } = await server.command();
    expect(line).toContain('"size":9007199254740993}');
    server.send(`{"return": 18446744073709551615, "id": "${id}"}\r\n`);
    expect(await answer).toBe(18446744073709551615n);
    client.close();
  });

  test('what cannot be sent is refused here, and the session goes on', async () => {
    await using fake = await FakeMonitor.start();
    const { client } = await fake.connect();
    expect(await failure(client.execute('blockdev-del', { 'node-name': 'a\0' }))).toMatchObject({
      code: 'QMP_ARGUMENT',
    });
    expect(client.state).toBe('ready');
    client.close();
  });

  test('an abort rejects at once; the late answer is dropped', async () => {
    await using fake = await FakeMonitor.start();
    const { client, server } = await fake.connect();
    const abort = new AbortController();
    const stop = client.execute('stop', {}, { signal: abort.signal });
    const late = await server.command();
    abort.abort(new Error('enough'));
    await expect(stop).rejects.toThrow('enough');
    const status = client.execute('query-status');
    server.send(emptyReturn(late.id) + statusReturn((await server.command()).id));
    expect(await status).toMatchObject({ status: 'prelaunch' });
    client.close();
  });

  test('a signal that is aborted already: nothing is sent', async () => {
    await using fake = await FakeMonitor.start();
    const { client, server } = await fake.connect();
    await expect(client.execute('stop', {}, { signal: AbortSignal.abort(new Error('no')) })).rejects.toThrow('no');
    const status = client.execute('query-status');
    const { execute, id } = await server.command();
    expect(execute).toBe('query-status');
    server.send(statusReturn(id));
    await status;
    client.close();
  });

  test('no answer within the limit: the outcome is unknown, and the session goes on', async () => {
    await using fake = await FakeMonitor.start();
    const { client } = await fake.connect();
    expect(await failure(client.execute('stop', {}, { timeoutMs: 20 }))).toMatchObject({
      code: 'QMP_TIMEOUT',
      fields: { command: 'stop', ms: 20, outcome: 'whether it ran is unknown' },
    });
    expect(client.state).toBe('ready');
    client.close();
  });

  test('an answer with an id that was never given is dropped', async () => {
    await using fake = await FakeMonitor.start();
    const { client, server } = await fake.connect();
    const status = client.execute('query-status');
    const { id } = await server.command();
    server.send(`${emptyReturn('other-2')}{"return": {}, "id": 7}\r\n${statusReturn(id)}${statusReturn(id)}`);
    expect(await status).toMatchObject({ status: 'prelaunch' });
    client.close();
  });
});

describe('many commands', () => {
  test('seven at most are ahead of their answers; one out of band passes them', async () => {
    await using fake = await FakeMonitor.start();
    const { client, server } = await fake.connect();
    const all = Array.from({ length: 20 }, (_, at) => client.executeRaw('x', { at }));
    const urgent = client.execute('query-yank', {}, { oob: true });
    const sent = [];
    for (let count = 0; count < 8; count += 1) sent.push(await server.command());
    expect(sent.map((command) => command.arguments['at'])).toEqual([0, 1, 2, 3, 4, 5, 6, undefined]);
    const yank = sent.pop();
    expect(yank).toMatchObject({ 'exec-oob': 'query-yank' });
    expect(yank).not.toHaveProperty('execute');
    server.send(`{"return": [], "id": "${yank?.id}"}\r\n`);
    expect(await urgent).toEqual([]);
    expect(server.backlog).toBe(0);
    for (const command of sent)
      server.send(`{"return": ${String(command.arguments['at'])}, "id": "${command.id}"}\r\n`);
    for (let at = 7; at < 20; at += 1) {
      const command = await server.command();
      expect(command.arguments['at']).toBe(at);
      server.send(`{"return": ${at}, "id": "${command.id}"}\r\n`);
    }
    expect(await Promise.all(all)).toEqual(Array.from({ length: 20 }, (_, at) => at));
    client.close();
  });

  test('one that waited for its turn is known not to have been sent', async () => {
    await using fake = await FakeMonitor.start();
    const { client, server } = await fake.connect();
    const sent = Array.from({ length: 7 }, () => failure(client.execute('stop')));
    expect(await failure(client.execute('cont', {}, { timeoutMs: 20 }))).toMatchObject({
      code: 'QMP_TIMEOUT',
      fields: { command: 'cont', outcome: 'it was not sent' },
    });
    const waiting = failure(client.execute('quit'));
    server.end();
    expect((await Promise.all(sent)).map((error) => error.code)).toEqual(Array(7).fill('QMP_INTERRUPTED'));
    expect(await waiting).toMatchObject({ code: 'QMP_CLOSED' });
  });
});

describe('the end of a connection', () => {
  test('all commands under way, and all waits for events, are told', async () => {
    await using fake = await FakeMonitor.start();
    const { client, server } = await fake.connect();
    using queue = client.listen(['STOP']);
    const waits = [failure(client.execute('stop')), failure(client.execute('query-block')), failure(queue.next())];
    await server.command();
    await server.command();
    server.end();
    for (const error of await Promise.all(waits)) {
      expect(error.code).toBe('QMP_INTERRUPTED');
      expect(isQmpConnectionLost(error)).toBe(true);
    }
    expect((await client.closed).code).toBe('QMP_INTERRUPTED');
    expect(client.state).toBe('closed');
    expect(await failure(client.execute('stop'))).toMatchObject({ code: 'QMP_CLOSED' });
    expect(() => client.listen(['STOP'])).toThrow(FerryError);
  });

  test('inside a message', async () => {
    await using fake = await FakeMonitor.start();
    const { client, server } = await fake.connect();
    const status = failure(client.execute('query-status'));
    server.send(statusReturn((await server.command()).id).slice(0, 20));
    server.end();
    expect((await status).message).toContain('inside a message');
  });

  test('closed by this side', async () => {
    await using fake = await FakeMonitor.start();
    const { client, server } = await fake.connect();
    const stop = failure(client.execute('stop'));
    client.close();
    client.close();
    expect(await stop).toMatchObject({ code: 'QMP_INTERRUPTED' });
    await server.closed();
  });

  test.each([
    ['garbage', 'rubbish\n', /not QMP: 'rubbish'/],
    ['a message that is not JSON', '{"return": }', /not JSON/],
    ['a message of no kind', '{"returns": 1}', /neither a greeting/],
    ['an error without id', PARSE_ERROR, /error without id: JSON parse error/],
    ['an answer without id', '{"return": {}}', /answer without id/],
    ['a second greeting', GREETING, /second greeting/],
    ['a message that is too large', `{"return": "${'x'.repeat(1000)}"}`, /more than 1000 bytes/],
  ])('%s ends the session as a broken protocol', async (_, bytes, message) => {
    await using fake = await FakeMonitor.start();
    const { client, server } = await fake.connect({ maxMessageBytes: 1000 });
    const stop = failure(client.execute('stop'));
    await server.command();
    server.send(Buffer.from(bytes));
    const reason = await client.closed;
    expect(reason.code).toBe('QMP_PROTOCOL');
    expect(reason.message).toMatch(message);
    expect(await stop).toMatchObject({ code: 'QMP_INTERRUPTED', cause: reason });
    await server.closed();
  });
});

describe('events', () => {
  test('one that comes before the answer of its command is in the queue', async () => {
    await using fake = await FakeMonitor.start();
    const { client, server } = await fake.connect();
    using queue = client.listen(['RESUME']);
    const cont = client.execute('cont');
    server.send(resumeEvent(1_700_000_000, 5) + emptyReturn((await server.command()).id));
    await cont;
    expect(await queue.next()).toEqual({
      event: 'RESUME',
      data: {},
      timestamp: { seconds: 1_700_000_000, microseconds: 5 },
    });
    client.close();
  });

  test('each queue has those that pass its filter, and none from before it was opened', async () => {
    await using fake = await FakeMonitor.start();
    const { client, server } = await fake.connect();
    const send = async (bytes: string): Promise<void> => {
      const sync = client.execute('query-status');
      server.send(bytes + statusReturn((await server.command()).id));
      await sync;
    };
    const stop = resumeEvent(2, 0).replace('RESUME', 'STOP');
    using resumes = client.listen(['RESUME']);
    await send(resumeEvent(1, 0) + stop);
    using late = client.listen((event) => event.timestamp.seconds > 2);
    using broken = client.listen(() => {
      throw new Error('oops');
    });
    await send(resumeEvent(3, 0) + stop);
    expect([resumes.length, late.length]).toEqual([2, 1]);
    expect(await failure(broken.next())).toMatchObject({ code: 'INTERNAL' });
    expect((await resumes.next()).timestamp.seconds).toBe(1);
    expect((await late.next()).timestamp.seconds).toBe(3);
    expect(resumes.history).toHaveLength(1);
    client.close();
    expect((await resumes.next()).timestamp.seconds).toBe(3);
    expect(await failure(resumes.next())).toMatchObject({ code: 'QMP_INTERRUPTED' });
  });
});
