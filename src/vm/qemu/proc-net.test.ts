import { expect, test } from 'vitest';
import { parseProcNetTcp, parseProcNetUnix } from './proc-net.ts';

test('/proc/net/unix', () => {
  const text = [
    'Num       RefCount Protocol Flags    Type St Inode Path',
    '000000002876fda0: 00000003 00000000 00000000 0001 03    94',
    '000000007a0aa94d: 00000002 00000000 00010000 0001 01 98109 r el.sock',
    '00000000329d8519: 00000003 00000000 00000000 0001 03 98110 /run/vm/qmp.sock',
    '',
  ].join('\n');
  expect(parseProcNetUnix(text)).toEqual([
    { inode: 98109, listening: true, path: 'r el.sock' },
    { inode: 98110, listening: false, path: '/run/vm/qmp.sock' },
  ]);
});

test('/proc/net/tcp and tcp6', () => {
  const head = '  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode';
  const rest = '00000000:00000000 00:00000000 00000000     0        0';
  const tcp = [
    head,
    `   0: 0100007F:B283 00000000:0000 0A ${rest} 98111 1 00000000fa4c2039 100 0 0 10 0`,
    `   1: 00000000:07E8 0A00000A:1234 01 ${rest} 98 1 0000000008355630 100 0 0 10 0`,
    `   2: 0100007F:CC70 0100007F:B0D7 06 ${rest} 0 3 00000000eabf2f87`,
  ].join('\n');
  expect(parseProcNetTcp(tcp)).toEqual([
    { inode: 98111, listening: true, host: '127.0.0.1', port: 45699 },
    { inode: 98, listening: false, host: '0.0.0.0', port: 2024 },
  ]);
  const tcp6 = [
    head,
    `   0: 00000000000000000000000001000000:0050 ${'0'.repeat(32)}:0000 0A ${rest} 1 1 0 100 0 0 10 0`,
    `   1: ${'0'.repeat(32)}:0051 ${'0'.repeat(32)}:0000 0A ${rest} 2 1 0 100 0 0 10 0`,
    `   2: B80D0120000000000000000001000000:0052 ${'0'.repeat(32)}:0000 0A ${rest} 3 1 0 100 0 0 10 0`,
    `   3: 0000000000000000FFFF00000100007F:0053 ${'0'.repeat(32)}:0000 0A ${rest} 4 1 0 100 0 0 10 0`,
  ].join('\n');
  expect(parseProcNetTcp(tcp6).map((socket) => socket.host)).toEqual(['::1', '::', '2001:db8::1', '127.0.0.1']);
});
