// On /proc folders as they were recorded from running VMs.
import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterEach, expect, test } from 'vitest';
import { type DiscoveredVm, discoverQemu } from './discover.ts';
import { ProcFs } from './proc-fs.ts';

interface Recorded {
  readonly argv: readonly string[];
  readonly exe?: string;
  readonly cwd?: string;
  readonly uid?: number;
  /** Absent: this user may not list them. */
  readonly fd?: Readonly<Record<number, string>>;
  readonly unix?: readonly string[];
}

const roots: string[] = [];
afterEach(() => {
  for (const root of roots.splice(0)) rmSync(root, { recursive: true, force: true });
});

function recordedProc(processes: Readonly<Record<number, Recorded>>): ProcFs {
  const root = mkdtempSync(join(tmpdir(), 'recorded-proc-'));
  roots.push(root);
  const write = (path: string, text: string): void => {
    mkdirSync(dirname(join(root, path)), { recursive: true });
    writeFileSync(join(root, path), text);
  };
  write('version', 'Linux');
  for (const [pid, { argv, exe, cwd, uid = 0, fd, unix = [] }] of Object.entries(processes)) {
    write(`${pid}/cmdline`, argv.map((argument) => `${argument}\0`).join(''));
    write(`${pid}/stat`, `${pid} (CPU 0) (KVM) S 1 ${'2 '.repeat(17)}270367 1280860160 8152\n`);
    write(`${pid}/status`, `Name:\tqemu\nUid:\t${uid}\t${uid}\t${uid}\t${uid}\n`);
    write(`${pid}/net/unix`, ['Num       RefCount Protocol Flags    Type St Inode Path', ...unix, ''].join('\n'));
    write(`${pid}/net/tcp`, '  sl  local_address rem_address   st\n');
    if (exe !== undefined) symlinkSync(exe, join(root, pid, 'exe'));
    if (cwd !== undefined) symlinkSync(cwd, join(root, pid, 'cwd'));
    if (fd) mkdirSync(join(root, pid, 'fd'));
    for (const [number, target] of Object.entries(fd ?? {})) symlinkSync(target, join(root, pid, 'fd', number));
  }
  return new ProcFs(root);
}

async function onlyVm(recorded: Recorded): Promise<DiscoveredVm> {
  const vms = await discoverQemu(recordedProc({ 42: recorded, 7: { argv: ['/sbin/init'], exe: '/sbin/init' } }));
  expect(vms).toHaveLength(1);
  return vms[0] as DiscoveredVm;
}

const listening = (inode: number, path: string): string =>
  `0000000000000000: 00000002 00000000 00010000 0001 01 ${inode} ${path}`;
const connected = (inode: number, path: string): string =>
  `0000000000000000: 00000003 00000000 00000000 0001 03 ${inode} ${path}`;

const LIBVIRT_SOCKET = '/var/lib/libvirt/qemu/domain-3-web/monitor.sock';
const LIBVIRT: Recorded = {
  exe: '/usr/bin/qemu-system-x86_64',
  cwd: '/',
  // Debian's libvirt-qemu is 64055; this one has no name, whatever is installed.
  uid: 640055,
  argv: [
    '/usr/bin/qemu-system-x86_64',
    '-name',
    'guest=web,debug-threads=on',
    '-S',
    '-machine',
    'pc-i440fx-7.2,usb=off,dump-guest-core=off',
    '-uuid',
    'c0ffee00-0000-4000-8000-000000000001',
    '-no-user-config',
    '-nodefaults',
    '-chardev',
    'socket,id=charmonitor,fd=26,server=on,wait=off',
    '-mon',
    'chardev=charmonitor,id=monitor,mode=control',
    '-qmp',
    'unix:/run/own.sock,server=on,wait=off',
  ],
  fd: { 0: '/dev/null', 26: 'socket:[501]', 27: 'socket:[502]', 28: 'socket:[503]', 29: '/images/a.qcow2' },
  unix: [
    connected(502, LIBVIRT_SOCKET),
    listening(501, LIBVIRT_SOCKET),
    listening(503, '/run/own.sock'),
    listening(900, '/run/other.sock'),
  ],
};

test("libvirt's VM: its monitor is a descriptor that it holds; a second one is free", async () => {
  expect(await onlyVm(LIBVIRT)).toEqual({
    pid: 42,
    startTime: '270367',
    name: 'web',
    uuid: 'c0ffee00-0000-4000-8000-000000000001',
    qmp: [
      { path: LIBVIRT_SOCKET, heldBy: 'libvirt', inUse: true },
      { path: '/run/own.sock', inUse: false },
    ],
    managedBy: 'libvirt',
    user: '640055',
    cwd: '/',
    readable: true,
  });
});

test('a process that may not be looked into: what the command line says, and why there is no more', async () => {
  const { fd: _, ...unreadable } = LIBVIRT;
  const vm = await onlyVm(unreadable);
  expect(vm).toMatchObject({ managedBy: 'libvirt', qmp: [{ path: '/run/own.sock' }], readable: false });
  expect(vm.qmp[0]).not.toHaveProperty('inUse');
  expect(vm.whyNot).toContain('640055');
});

test('relative names are those of the working directory', async () => {
  const argv = ['qemu-system-x86_64', '-qmp', 'unix:r el.sock,server=on,wait=off'];
  const unix = [listening(5, 'r el.sock'), listening(6, '/srv/vm/r el.sock')];
  const exe = '/usr/bin/qemu-system-x86_64';
  const vm = await onlyVm({ argv, exe, cwd: '/srv/vm', fd: { 3: 'socket:[5]' }, unix });
  expect(vm).toMatchObject({ name: undefined, managedBy: undefined, qmp: [{ path: '/srv/vm/r el.sock' }] });
  expect((await onlyVm({ argv, exe, cwd: '/srv/vm' })).qmp).toEqual([{ path: '/srv/vm/r el.sock' }]);
  // Without the working directory nobody can say where it is.
  expect((await onlyVm({ argv, exe })).qmp).toEqual([]);
});

test('a socket that is declared and that the process does not listen on is left out', async () => {
  const argv = ['qemu-system-x86_64', '-qmp', 'unix:/run/own.sock,server=on,wait=off'];
  const vm = await onlyVm({
    argv,
    exe: '/usr/bin/qemu-system-x86_64',
    cwd: '/',
    fd: { 3: 'socket:[5]' },
    unix: [connected(5, '/run/own.sock'), listening(6, '/run/own.sock')],
  });
  expect(vm.qmp).toEqual([]);
});

test('a host without a VM', async () => {
  expect(await discoverQemu(recordedProc({ 1: { argv: ['/sbin/init'] }, 2: { argv: [] } }))).toEqual([]);
});
