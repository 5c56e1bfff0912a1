import { once } from 'node:events';
import { connect } from 'node:net';
import { expect, test } from 'vitest';
import { Lab } from '../../../lab/index.ts';
import { LabLibvirtd } from '../../../lab/libvirtd.ts';
import { structure } from '../protocol/types.ts';
import { frameBytes, PROGRAM, TYPE } from '../wire/frame.ts';
import { FrameSplitter } from '../wire/frame-splitter.ts';
import {
  authListReply,
  featureReply,
  noDomainReply,
  openReply,
  ping,
  pong,
  suspendedEvent,
  versionReply,
} from './recorded-bytes.ts';

test('the recorded bytes are what the real libvirtd sends', async () => {
  await using lab = await Lab.open({ name: 'libvirt-bytes' });
  const { socket: path } = await LabLibvirtd.start(lab);
  const socket = connect(path);
  const splitter = new FrameSplitter();
  const received: Buffer[] = [];
  let serial = 0;
  const next = async (): Promise<string> => {
    while (received.length === 0) {
      const [chunk] = (await once(socket, 'data')) as [Buffer];
      received.push(...splitter.push(chunk));
    }
    return (received.shift() ?? Buffer.alloc(0)).toString('hex');
  };
  const call = (procedure: number, fields: Record<string, string> = {}, args: object = {}): void => {
    serial += 1;
    const payload = structure(fields).encode({ ...args });
    socket.write(frameBytes({ program: PROGRAM.remote, procedure, type: TYPE.call, serial, payload }));
  };
  const dom = { dom: { name: 'test', uuid: '6695eb01-f6a4-8304-79aa-97f2502e193f', id: 1 } };

  call(66);
  expect(await next()).toBe(authListReply(serial).toString('hex'));
  call(60, { feature: 'int' }, { feature: 10 });
  expect(await next()).toBe(featureReply(serial).toString('hex'));
  call(1, { name: 'text?', flags: 'uint' }, { name: 'test:///default', flags: 0 });
  expect(await next()).toBe(openReply(serial).toString('hex'));
  call(157);
  const version = await next();
  // The version's own number aside, this holds for any libvirt.
  expect(version.slice(0, 56)).toBe(versionReply(serial).toString('hex').slice(0, 56));
  call(23, { name: 'text' }, { name: 'none' });
  expect(await next()).toBe(noDomainReply(serial).toString('hex'));
  call(316, { eventID: 'int', dom: 'domain?' }, { eventID: 0, dom: null });
  await next();
  call(34, { dom: 'domain' }, dom);
  // The event and the reply to the call that caused it come in either order.
  const both = [await next(), await next()];
  expect(both).toContain(suspendedEvent.toString('hex'));
  socket.write(ping);
  expect(await next()).toBe(pong.toString('hex'));
  socket.destroy();
});
