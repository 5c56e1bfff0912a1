import { describe, expect, test } from 'vitest';
import { isQemu, parseStartOptions } from './monitor-options.ts';

function sockets(...argv: readonly string[]): readonly unknown[] {
  return parseStartOptions(['qemu-system-x86_64', ...argv]).monitors.map((monitor) => monitor.socket);
}

describe('QMP sockets of a command line', () => {
  test('-qmp and its variants', () => {
    expect(sockets('-qmp', 'unix:/a,,b/q p.sock,server=on,wait=off')).toEqual([
      { kind: 'unix', path: '/a,b/q p.sock' },
    ]);
    expect(sockets('--qmp-pretty', 'unix:rel.sock,server,nowait')).toEqual([{ kind: 'unix', path: 'rel.sock' }]);
    expect(sockets('-qmp', 'tcp:127.0.0.1:4444,server=on', '-qmp', 'tcp::4445,server,nowait')).toEqual([
      { kind: 'tcp', host: '127.0.0.1', port: 4444 },
      { kind: 'tcp', host: '', port: 4445 },
    ]);
  });

  test('-mon with the -chardev that it names, in either order', () => {
    const chardev = ['-chardev', 'socket,id=m,path=/a/q.sock,server=on,wait=off'];
    const mon = ['-mon', 'chardev=m,mode=control,pretty=on'];
    expect(sockets(...chardev, ...mon)).toEqual([{ kind: 'unix', path: '/a/q.sock' }]);
    expect(sockets(...mon, ...chardev)).toEqual([{ kind: 'unix', path: '/a/q.sock' }]);
    expect(sockets(...chardev, '-mon', 'm,mode=control')).toHaveLength(1);
    expect(sockets(...chardev, '-qmp', 'chardev:m')).toHaveLength(1);
    expect(sockets('-chardev', 'socket,id=t,host=::1,port=99,server=on', '-mon', 'chardev=t,mode=control')).toEqual([
      { kind: 'tcp', host: '::1', port: 99 },
    ]);
  });

  test('what nobody can connect to as a QMP client is left out', () => {
    const chardev = ['-chardev', 'socket,id=m,path=/a/q.sock,server=on'];
    expect(sockets(...chardev, '-mon', 'chardev=m')).toEqual([]);
    expect(sockets(...chardev, '-mon', 'chardev=other,mode=control')).toEqual([]);
    expect(sockets('-monitor', 'unix:/a/hmp.sock,server=on')).toEqual([]);
    expect(sockets('-qmp', 'unix:/a/client.sock', '-qmp', 'tcp:host:1', '-qmp', 'stdio')).toEqual([]);
    expect(sockets('-qmp', 'unix:/a/q.sock,server=off', '-qmp', 'unix:abstract,abstract=on,server=on')).toEqual([]);
  });

  test('a descriptor, as libvirt passes it', () => {
    const argv = ['-chardev', 'socket,id=charmonitor,fd=26,server=on,wait=off'];
    const { monitors } = parseStartOptions([...argv, '-mon', 'chardev=charmonitor,id=monitor,mode=control']);
    expect(monitors).toEqual([{ socket: { kind: 'fd', fd: 26 }, chardev: 'charmonitor' }]);
  });

  test('name and uuid', () => {
    expect(parseStartOptions(['-name', 'guest=a,,b,debug-threads=on'])).toEqual({ name: 'a,b', monitors: [] });
    expect(parseStartOptions(['-name', 'web', '-uuid', 'C0FFEE00-0000-4000-8000-000000000001'])).toMatchObject({
      name: 'web',
      uuid: 'c0ffee00-0000-4000-8000-000000000001',
    });
  });
});

describe('which processes are QEMU', () => {
  test.each([
    ['its own name', '/usr/bin/qemu-system-x86_64', ['anything']],
    ['Red Hat’s name', '/usr/libexec/qemu-kvm', ['qemu-kvm']],
    ['replaced by an update while it runs', '/usr/bin/qemu-system-aarch64 (deleted)', ['kvm']],
    ['not readable, but called like it', undefined, ['/opt/q/qemu-system-s390x', '-S']],
    ['another name, but its arguments', '/opt/emulator', ['emulator', '-machine', 'q35', '-qmp', 'stdio']],
    ['two dashes', '/opt/emulator', ['emulator', '--nodefaults', '--blockdev', 'null-co,node-name=a']],
  ])('yes: %s', (_, exe, argv) => {
    expect(isQemu(exe, argv)).toBe(true);
  });

  test.each([
    ['a shell', '/usr/bin/bash', ['bash', '-c', 'qemu-system-x86_64 -machine q35 -qmp stdio']],
    ['a wrapper', '/usr/bin/strace', ['strace', '-f', 'qemu-system-x86_64', '-machine', 'q35', '-qmp', 'stdio']],
    ['sudo, not readable', undefined, ['sudo', 'qemu-system-x86_64', '-machine', 'q35']],
    ['the storage daemon', '/usr/bin/qemu-storage-daemon', ['qemu-storage-daemon', '--blockdev', 'x']],
    ['the image tool', '/usr/bin/qemu-img', ['qemu-img', 'convert']],
    ['a kernel thread', undefined, []],
  ])('no: %s', (_, exe, argv) => {
    expect(isQemu(exe, argv)).toBe(false);
  });
});
