import { describe, expect, test } from 'vitest';
import { socketPath } from './dial/socket-path.ts';
import { remoteCommand, sshArguments } from './dial/ssh.ts';
import { parseLibvirtUri } from './uri.ts';

describe('a connection URI', () => {
  test.each([
    ['qemu:///system', 'unix', undefined, undefined, 'qemu:///system'],
    ['qemu:///session', 'unix', undefined, undefined, 'qemu:///session'],
    ['test:///default', 'unix', undefined, undefined, 'test:///default'],
    ['test+unix:///default?socket=/a%20b/c+d', 'unix', undefined, undefined, 'test:///default'],
    ['qemu://host/system', 'tls', 'host', undefined, 'qemu:///system'],
    ['qemu+ssh://root@host:2222/system?keyfile=/k&other=1', 'ssh', 'host', 2222, 'qemu:///system?other=1'],
    ['qemu+tcp://[::1]:1234/system?name=qemu:///embed', 'tcp', '::1', 1234, 'qemu:///embed'],
  ])('%s', (text, transport, host, port, remoteName) => {
    expect(parseLibvirtUri(text)).toMatchObject({ transport, host, port, remoteName });
  });

  test.each([
    ['system', /scheme/],
    ['qemu+ssh:///system', /needs a host/],
    ['qemu+unix://host/system', /has no host/],
    ['qemu+libssh2://host/system', /libssh2/],
    ['qemu://host:port/system', /cannot be read/],
  ])('%s is refused', (text, why) => {
    expect(() => parseLibvirtUri(text)).toThrow(why);
  });

  test('an option keeps its plus and its blanks', () => {
    expect(parseLibvirtUri('test+unix:///default?socket=/a%20b/c+d').options.get('socket')).toBe('/a b/c+d');
  });
});

describe('the socket of a local URI', () => {
  test.each([
    ['qemu:///system', 0, '/run/libvirt/libvirt-sock'],
    ['qemu:///system', 1000, '/run/libvirt/libvirt-sock'],
    ['qemu:///session', 0, '/run/libvirt/libvirt-sock'],
    ['qemu:///session', 1000, '/run/nobody-has-this/libvirt/libvirt-sock'],
    ['test:///default', 1000, '/run/nobody-has-this/libvirt/libvirt-sock'],
    ['qemu:///system?socket=/x', 0, '/x'],
  ])('%s of user %i', (uri, uid, path) => {
    const legacy = uri.includes('?') ? uri : `${uri}?mode=legacy`;
    expect(socketPath(parseLibvirtUri(legacy), uid, { XDG_RUNTIME_DIR: '/run/nobody-has-this' })).toBe(path);
  });

  test('without XDG_RUNTIME_DIR it is in the cache', () => {
    const path = socketPath(parseLibvirtUri('qemu:///session'), 1000, { XDG_CACHE_HOME: '/c' });
    expect(path).toBe('/c/libvirt/libvirt-sock');
  });
});

test('the command line of ssh is that of libvirt', () => {
  const uri = parseLibvirtUri('qemu+ssh://root@host:2222/system?keyfile=/k&no_tty=1&no_verify=1');
  const args = sshArguments(uri);
  expect(args.slice(0, -1)).toEqual(
    '-p 2222 -l root -i /k -T -e none -o BatchMode=yes -o StrictHostKeyChecking=no -- host'.split(' '),
  );
  expect(args.at(-1)).toContain('then virt-ssh-helper qemu:///system; else');
  const netcat = remoteCommand(parseLibvirtUri("qemu+ssh://host/system?socket=/a'b&netcat=/bin/nc.x"));
  expect(netcat).not.toContain('virt-ssh-helper');
  expect(netcat).toContain('/bin/nc.x $ARG -U');
});
