import { describe, expect, test } from 'vitest';
import type { DiscoveredVm, Disk } from '../vm/index.ts';
import { chooseMonitor, chooseVm } from './find-vm.ts';
import { type MigrationOptions, migrationRequest } from './migration-options.ts';
import { parseQmpAddress } from './qmp-address.ts';

describe('--disk and the folders', () => {
  const disks = ['vda', 'odd=name', 'odd'].map((id) => ({ id, names: [id, `node-${id}`] }) as unknown as Disk);
  const options: MigrationOptions = { disk: [], fold: true, verify: true };
  const chosen = (...disk: string[]): unknown => migrationRequest({ ...options, disk }, disks, '/here').disks;

  test('the id ends at the first =, unless the whole is the name of a disk', () => {
    expect(chosen('vda')).toEqual([{ name: 'vda' }]);
    expect(chosen('vda=sub/dir', 'node-odd=/a=b')).toEqual([
      { name: 'vda', to: '/here/sub/dir' },
      { name: 'node-odd', to: '/a=b' },
    ]);
    expect(chosen('odd=name')).toEqual([{ name: 'odd=name' }]);
    expect(chosen('odd=other')).toEqual([{ name: 'odd', to: '/here/other' }]);
  });

  test('what is not given is as the migration has it', () => {
    expect(migrationRequest({ ...options, to: '../big' }, disks, '/here')).toEqual({
      to: '/big',
      disks: [],
      bandwidth: 0,
      keepSource: false,
      leaveLink: false,
      fold: true,
      verify: true,
    });
  });
});

test.each([
  ['/run/vm.sock', { path: '/run/vm.sock' }],
  ['vm.sock', { path: '/here/vm.sock' }],
  ['./vm:1', { path: '/here/vm:1' }],
  ['localhost:4444', { host: 'localhost', port: 4444 }],
  ['[::1]:4444', { host: '::1', port: 4444 }],
  ['vm:99999', { path: '/here/vm:99999' }],
])('--qmp %s', (text, address) => {
  expect(parseQmpAddress(text, '/here')).toEqual(address);
});

function vm(more: Partial<DiscoveredVm>): DiscoveredVm {
  return {
    pid: 1,
    startTime: '9',
    name: 'web',
    uuid: undefined,
    qmp: [{ path: '/run/1.sock' }],
    managedBy: undefined,
    user: 'root',
    cwd: '/',
    readable: true,
    ...more,
  };
}

function refused(code: string): unknown {
  return expect.objectContaining({ code, exitStatus: 3 });
}

describe('a VM by its name', () => {
  const uuid = 'c0ffee00-0000-4000-8000-000000000001';

  test('or its UUID, in either case', () => {
    const there = [vm({}), vm({ pid: 2, name: 'db', uuid })];
    expect(chooseVm('web', there).pid).toBe(1);
    expect(chooseVm(uuid.toUpperCase(), there).pid).toBe(2);
  });

  test('none or several: the error lists what there is', () => {
    const there = [vm({}), vm({ pid: 2, uuid, qmp: [] })];
    expect(() => chooseVm('x', there)).toThrow(
      `no VM on this host has the name or UUID 'x'; there are: web (pid 1, /run/1.sock); web (pid 2, ${uuid}, no QMP socket)`,
    );
    expect(() => chooseVm('x', [])).toThrow('there are: none');
    expect(() => chooseVm('web', there)).toThrow(expect.objectContaining({ code: 'AMBIGUOUS_VM', exitStatus: 2 }));
  });

  test('a monitor that nobody holds; none of a VM of libvirt', () => {
    const busy = { path: '/busy', inUse: true } as const;
    expect(chooseMonitor(vm({ qmp: [busy, { path: '/free', inUse: false }] }))).toEqual({ path: '/free' });
    expect(chooseMonitor(vm({ qmp: [busy] }))).toEqual({ path: '/busy' });
    expect(() => chooseMonitor(vm({ qmp: [] }))).toThrow(refused('VM_NO_MONITOR'));
    expect(() => chooseMonitor(vm({ managedBy: 'libvirt' }))).toThrow(refused('VM_OF_LIBVIRT'));
  });
});
