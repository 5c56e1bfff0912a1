import { writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { FerryError } from '../base/index.ts';
import { LibvirtClient } from './client.ts';
import { isLibvirtConnectionLost, isLibvirtError } from './errors.ts';
import { FakeLibvirtd } from './testing/fake-libvirtd.ts';
import {
  annotated,
  authListReply,
  noDomainReply,
  openReply,
  ping,
  pong,
  suspendedEvent,
  versionReply,
  word,
} from './testing/recorded-bytes.ts';

/** The error that a promise rejects with. */
async function failure(promise: Promise<unknown>): Promise<FerryError> {
  const error: unknown = await promise.then(
    () => new Error('resolved'),
    (reason: unknown) => reason,
  );
  if (error instanceof FerryError) return error;
  throw error;
}

describe('connecting', () => {
  test('authenticates, opens the driver, and is ready', async () => {
    await using fake = await FakeLibvirtd.start();
    const connecting = LibvirtClient.connect(fake.uri);
    const server = await fake.accept();
    const auth = await server.message();
    expect(auth.bytes).toEqual(
      annotated(`
        0000001c  length
        20008086  program: remote
        00000001  version
        00000042  procedure 66: AUTH_LIST
        00000000  type: call
        00000001  serial
        00000000  status: ok
      `),
    );
    server.send(authListReply(auth.serial));
    const feature = await server.message();
    expect([feature.procedure, feature.serial]).toEqual([60, 2]);
    server.send(annotated(`0000002020008086000000010000003c00000001${word(2)}0000000000000000  not supported`));
    const open = await server.message();
    expect(open.bytes.subarray(4)).toEqual(
      annotated(`
        20008086  program: remote
        00000001  version
        00000001  procedure 1: CONNECT_OPEN
        00000000  type: call
        00000003  serial
        00000000  status: ok
        00000001  there is a name
        0000000f  of 15 bytes
        746573743a2f2f2f64656661756c7400  test:///default, filled up to a word
        00000000  flags
      `),
    );
    server.send(openReply(open.serial));
    await using client = await connecting;
    expect(client.state).toBe('ready');
  });

  test('no such socket, and a file that nobody listens on', async () => {
    await using fake = await FakeLibvirtd.start();
    expect(await failure(LibvirtClient.connect(`${fake.uri}x`))).toMatchObject({ code: 'LIBVIRT_NO_SOCKET' });
    const file = join(dirname(new URL(fake.uri).searchParams.get('socket') ?? ''), 'file');
    writeFileSync(file, '');
    const uri = `test+unix:///default?socket=${file}`;
    expect(await failure(LibvirtClient.connect(uri))).toMatchObject({ code: 'LIBVIRT_REFUSED' });
  });

  test('a libvirtd that says nothing', async () => {
    await using fake = await FakeLibvirtd.start();
    const error = await failure(LibvirtClient.connect(fake.uri, { connectTimeoutMs: 20 }));
    expect(error.code).toBe('LIBVIRT_SILENT');
    await (await fake.accept()).closed();
  });

  test('an abort ends the attempt and closes the connection', async () => {
    await using fake = await FakeLibvirtd.start();
    const abort = new AbortController();
    const connecting = LibvirtClient.connect(fake.uri, { signal: abort.signal });
    const server = await fake.accept();
    abort.abort(new Error('enough'));
    await expect(connecting).rejects.toThrow('enough');
    await server.closed();
  });

  test('one that asks for SASL is left, and says so', async () => {
    await using fake = await FakeLibvirtd.start();
    const connecting = LibvirtClient.connect(fake.uri);
    const server = await fake.accept();
    const { serial } = await server.message();
    server.send(annotated(`00000024200080860000000100000042 00`).subarray(0, 0));
    server.send(annotated(`0000002420008086000000010000004200000001${word(serial)}000000000000000100000001  sasl`));
    expect(await failure(connecting)).toMatchObject({ code: 'LIBVIRT_AUTH' });
    await server.closed();
  });

  test('another server than libvirtd', async () => {
    await using fake = await FakeLibvirtd.start();
    const connecting = LibvirtClient.connect(fake.uri);
    (await fake.accept()).send(Buffer.from('SSH-2.0-OpenSSH_9.2p1 Debian-2\r\n'));
    const error = await failure(connecting);
    expect(error.message).toContain('SSH-2.0-OpenSSH');
  });
});

describe('calls', () => {
  test('replies in any order reach their callers', async () => {
    await using fake = await FakeLibvirtd.start();
    const { client, server } = await fake.connect();
    const version = client.call('CONNECT_GET_LIB_VERSION');
    const lookup = client.call('DOMAIN_LOOKUP_BY_NAME', { name: 'none' });
    const [first, second] = [await server.message(), await server.message()];
    server.send(Buffer.concat([noDomainReply(second.serial), versionReply(first.serial)]));
    expect(await version).toEqual({ lib_ver: 9_000_000n });
    const error = await failure(lookup);
    expect(isLibvirtError(error, 42)).toBe(true);
    expect(error.fields).toEqual({
      call: 'DOMAIN_LOOKUP_BY_NAME',
      message: 'Domain not found',
      code: 42,
      domain: 12,
      level: 2,
    });
    expect(error.details['sent']).toEqual({ call: 'DOMAIN_LOOKUP_BY_NAME', args: { name: 'none' } });
    client.close();
  });

  test('a reply byte by byte', async () => {
    await using fake = await FakeLibvirtd.start();
    const { client, server } = await fake.connect();
    const version = client.call('CONNECT_GET_LIB_VERSION');
    const { serial } = await server.message();
    for (const byte of versionReply(serial)) server.send(Buffer.from([byte]));
    expect(await version).toEqual({ lib_ver: 9_000_000n });
    client.close();
  });

  test('no more than five are sent ahead of their replies', async () => {
    await using fake = await FakeLibvirtd.start();
    const { client, server } = await fake.connect();
    const calls = Array.from({ length: 8 }, async () => await client.call('CONNECT_GET_LIB_VERSION'));
    const sent = [];
    for (let count = 0; count < 5; count += 1) sent.push(await server.message());
    server.send(ping);
    expect((await server.message()).bytes).toEqual(pong);
    expect(server.backlog).toBe(0);
    for (const { serial } of sent) server.send(versionReply(serial));
    for (let count = 0; count < 3; count += 1) server.send(versionReply((await server.message()).serial));
    expect(await Promise.all(calls)).toHaveLength(8);
    client.close();
  });

  test('when the connection ends, what was sent is unknown, and what waited was not sent', async () => {
    await using fake = await FakeLibvirtd.start();
    const { client, server } = await fake.connect();
    const calls = Array.from({ length: 6 }, async () => await failure(client.call('CONNECT_GET_LIB_VERSION')));
    for (let count = 0; count < 5; count += 1) await server.message();
    server.send(versionReply(999).subarray(0, 10));
    server.end();
    const errors = await Promise.all(calls);
    expect(errors.map(({ code }) => code)).toEqual([
      ...Array.from({ length: 5 }, () => 'LIBVIRT_INTERRUPTED'),
      'LIBVIRT_CLOSED',
    ]);
    expect(errors[0]?.message).toContain('inside a message');
    expect(errors[0]?.message).toContain("whether 'CONNECT_GET_LIB_VERSION' was carried out is unknown");
    expect(errors.every(isLibvirtConnectionLost)).toBe(true);
    expect(client.state).toBe('closed');
    expect(await failure(client.call('CONNECT_CLOSE'))).toMatchObject({ code: 'LIBVIRT_CLOSED' });
    expect(await client.closed).toMatchObject({ code: 'LIBVIRT_INTERRUPTED' });
  });

  test('a call that is given up: its late reply is dropped, and the connection goes on', async () => {
    await using fake = await FakeLibvirtd.start();
    const { client, server } = await fake.connect();
    const late = client.call('CONNECT_GET_LIB_VERSION', {}, { timeoutMs: 5 });
    expect(await failure(late)).toMatchObject({ code: 'LIBVIRT_TIMEOUT' });
    server.send(versionReply((await server.message()).serial));
    const next = client.call('CONNECT_GET_LIB_VERSION');
    server.send(versionReply((await server.message()).serial));
    expect(await next).toEqual({ lib_ver: 9_000_000n });
    client.close();
  });

  test.each([
    ['a reply to a call that was never sent', versionReply(1234), /call 1234/],
    ['a message shorter than its header', annotated('00000010'), /16 bytes/],
    ['a message longer than any', annotated('7fffffff'), /2147483647 bytes/],
    ['another version', annotated('0000001c20008086000000020000009d000000010000000400000000'), /version 2/],
    ['a stream', annotated('0000001c20008086000000010000009d000000030000000400000000'), /type 3/],
  ])('%s ends the session', async (_, bytes, why) => {
    await using fake = await FakeLibvirtd.start();
    const { client, server } = await fake.connect();
    const call = failure(client.call('CONNECT_GET_LIB_VERSION'));
    await server.message();
    server.send(bytes);
    expect(await client.closed).toMatchObject({ code: 'LIBVIRT_PROTOCOL' });
    expect((await client.closed).message).toMatch(why);
    expect(await call).toMatchObject({ code: 'LIBVIRT_INTERRUPTED' });
  });

  test.each([
    ['too short', '0000002020008086000000010000009d00000001SERIAL0000000000000000'],
    ['too long', '0000002820008086000000010000009d00000001SERIAL00000000000000000089544000000000'],
  ])('a reply whose payload is %s fails its call alone', async (_, hex) => {
    await using fake = await FakeLibvirtd.start();
    const { client, server } = await fake.connect();
    const call = failure(client.call('CONNECT_GET_LIB_VERSION'));
    server.send(annotated(hex.replace('SERIAL', word((await server.message()).serial))));
    expect(await call).toMatchObject({ code: 'LIBVIRT_PROTOCOL' });
    expect(client.state).toBe('ready');
    client.close();
  });

  test('what XDR or libvirt cannot take is not sent', async () => {
    await using fake = await FakeLibvirtd.start();
    const { client, server } = await fake.connect();
    for (const name of ['a\0b', '\ud800', 'x'.repeat(4_194_305)]) {
      const error = await failure(client.call('DOMAIN_LOOKUP_BY_NAME', { name }));
      expect(error).toMatchObject({ code: 'LIBVIRT_ARGUMENT' });
    }
    expect(await failure(client.call('DOMAIN_LOOKUP_BY_UUID', { uuid: 'x' }))).toMatchObject({
      code: 'LIBVIRT_ARGUMENT',
    });
    expect(await failure(client.call('DOMAIN_LOOKUP_BY_ID', { id: 2 ** 31 }))).toMatchObject({
      code: 'LIBVIRT_ARGUMENT',
    });
    expect(server.backlog).toBe(0);
    client.close();
  });
});

describe('events and keepalive', () => {
  test('an event that comes with the reply to its registration is not missed', async () => {
    await using fake = await FakeLibvirtd.start();
    const { client, server } = await fake.connect();
    const listening = client.listen(['LIFECYCLE'], ({ dom }) => dom.name === 'test');
    const asked = await server.message();
    expect([asked.procedure, ...asked.payload]).toEqual([316, ...annotated('0000000000000000')]);
    server.send(
      Buffer.concat([
        annotated(`0000002020008086000000010000013c00000001${word(asked.serial)}0000000000000000`),
        suspendedEvent,
      ]),
    );
    using queue = await listening;
    expect(await queue.next()).toEqual({
      name: 'LIFECYCLE',
      callbackID: 0,
      dom: { name: 'test', uuid: '6695eb01-f6a4-8304-79aa-97f2502e193f', id: 1 },
      event: 3,
      detail: 0,
    });
    // A second queue of the same events asks for nothing.
    using _ = await client.listen(['LIFECYCLE']);
    expect(server.backlog).toBe(0);
    server.end();
    await expect(queue.next()).rejects.toMatchObject({ code: 'LIBVIRT_INTERRUPTED' });
  });

  test('events that nobody asked for are dropped', async () => {
    await using fake = await FakeLibvirtd.start();
    const { client, server } = await fake.connect();
    server.send(annotated('0000001c200080870000000100000006000000020000000000000000'));
    server.send(suspendedEvent);
    server.send(ping);
    expect((await server.message()).bytes).toEqual(pong);
    expect(client.state).toBe('ready');
    client.close();
  });

  test('a libvirtd that is silent is asked, and given up', async () => {
    await using fake = await FakeLibvirtd.start();
    const { client, server } = await fake.connect({ keepAlive: { intervalMs: 10, count: 2 } });
    const call = failure(client.call('CONNECT_GET_LIB_VERSION'));
    await server.message();
    expect((await server.message()).bytes).toEqual(ping);
    server.send(pong);
    expect((await server.message()).bytes).toEqual(ping);
    expect((await server.message()).bytes).toEqual(ping);
    expect(await call).toMatchObject({ code: 'LIBVIRT_INTERRUPTED' });
    expect((await call).message).toContain('it has not answered');
  });
});
