import { once } from 'node:events';
import { copyFileSync, globSync, mkdirSync, realpathSync, rmSync, statSync, symlinkSync, writeFileSync } from 'node:fs';
import { createServer, type Server } from 'node:net';
import { join } from 'node:path';
import { run } from '../../base/index.ts';
import { expect, test } from 'vitest';
import { QmpClient } from '../../qmp/index.ts';
import { freePort, RealQemu } from '../../qmp/testing/real-qemu.ts';
import { type DiscoveredVm, discoverQemu, openFilesOf, processOfSocket } from './discover.ts';

const QEMU = 'qemu-system-x86_64';
const UUID = 'c0ffee00-0000-4000-8000-000000000001';

async function discovered(pid: number): Promise<DiscoveredVm> {
  const vm = (await discoverQemu()).find((found) => found.pid === pid);
  if (!vm) throw new Error(`QEMU ${pid} was not discovered`);
  return vm;
}

test('a VM with monitors of every kind: each address can be connected to and names its process', async () => {
  const port = await freePort();
  await using qemu = await RealQemu.start(QEMU, {
    args: () => [
      '-name',
      'guest=w,,eb,debug-threads=on',
      '-uuid',
      UUID.toUpperCase(),
      '-qmp',
      'unix:r el,,1.sock,server=on,wait=off',
      '-qmp',
      `tcp:127.0.0.1:${port},server,nowait`,
      '-monitor',
      'unix:hmp.sock,server=on,wait=off',
    ],
  });
  const vm = await discovered(qemu.pid);
  expect(vm).toMatchObject({ name: 'w,eb', uuid: UUID, managedBy: undefined, readable: true, cwd: qemu.directory });
  expect(new Set(vm.qmp)).toEqual(
    new Set([
      { path: qemu.path, inUse: false },
      { path: join(qemu.directory, 'r el,1.sock'), inUse: false },
      { host: '127.0.0.1', port, inUse: false },
    ]),
  );
  for (const [index, address] of vm.qmp.entries()) {
    await using client = await QmpClient.connect(address);
    expect(await client.execute('query-name')).toEqual({ name: 'w,eb' });
    const { bootId, ...process } = (await processOfSocket(address)) ?? { bootId: '' };
    expect(process).toEqual({ pid: qemu.pid, startTime: vm.startTime });
    expect(bootId).toMatch(/^[0-9a-f-]{36}$/);
    expect((await discovered(qemu.pid)).qmp.map((socket) => socket.inUse)[index]).toBe(true);
  }
});

test('a QEMU by another name is recognised by its arguments', async () => {
  const { stdout } = await run('which', [QEMU]);
  await using home = await RealQemu.start(QEMU);
  const emulator = join(home.directory, 'emulator');
  copyFileSync(realpathSync(stdout.trim()), emulator);
  // QEMU looks for its modules beside its program.
  const env = { QEMU_MODULE_DIR: process.env['QEMU_MODULE_DIR'] ?? globSync('/usr/lib/*/qemu')[0] };
  await using qemu = await RealQemu.start(emulator, { env });
  expect((await discovered(qemu.pid)).qmp).toMatchObject([{ path: qemu.path }]);
});

test('a listening descriptor that was handed over, as libvirt does', async () => {
  await using home = await RealQemu.start(QEMU);
  mkdirSync(join(home.directory, 'libvirt/qemu'), { recursive: true });
  const path = join(home.directory, 'libvirt/qemu/monitor.sock');
  const server = createServer().listen(path);
  await once(server, 'listening');
  await using qemu = await RealQemu.start(QEMU, {
    args: () => [
      '-chardev',
      'socket,id=charmonitor,fd=3,server=on,wait=off',
      '-mon',
      'chardev=charmonitor,id=monitor,mode=control',
    ],
    inherit: [descriptorOf(server)],
  });
  const vm = await discovered(qemu.pid);
  expect(vm.managedBy).toBe('libvirt');
  expect(vm.qmp).toContainEqual({ path, heldBy: 'libvirt', inUse: false });
  expect(vm.qmp).toContainEqual({ path: qemu.path, inUse: false });
  server.close();
});

/** Node has no public way to the descriptor of a server. */
function descriptorOf(server: Server): number {
  // oxlint-disable-next-line no-underscore-dangle -- it is Node's name
  return (server as Server & { readonly _handle: { readonly fd: number } })._handle.fd;
}

test('a user who may not look into the process is told so', async (context) => {
  context.skip(process.geteuid?.() !== 0, 'only root can be somebody else for a moment');
  await using qemu = await RealQemu.start(QEMU);
  const self = process.geteuid?.() ?? 0;
  // As root there is nothing that may not be read, so be somebody else for the time of the call.
  process.seteuid?.(65_534);
  const vm = await discovered(qemu.pid).finally(() => process.seteuid?.(self));
  expect(vm).toMatchObject({ readable: false, qmp: [{ path: qemu.path }], cwd: undefined });
  expect(vm.whyNot).toContain(vm.user);
});

test('who listens on a socket: through a symbolic link, nobody, and the second of two that bound one name', async () => {
  await using first = await RealQemu.start(QEMU);
  const link = join(first.directory, 'link');
  symlinkSync(first.directory, link);
  expect(await processOfSocket({ path: join(link, 'qmp.sock') })).toMatchObject({ pid: first.pid });
  expect(await processOfSocket({ path: join(link, 'other.sock') })).toBeUndefined();
  expect(await processOfSocket({ host: '127.0.0.1', port: await freePort() })).toBeUndefined();
  // QEMU removes the file that is in its way, and the first VM goes on listening on a socket that nobody can reach.
  await using second = await RealQemu.start(QEMU, { args: () => ['-qmp', `unix:${first.path},server=on,wait=off`] });
  expect(await processOfSocket({ path: first.path })).toMatchObject({ pid: second.pid });
  await second.kill('SIGKILL');
  expect(await processOfSocket({ path: second.path })).toBeUndefined();
});

test('the files that a VM has open', async () => {
  await using qemu = await RealQemu.start(QEMU, {
    args: (directory) => {
      writeFileSync(join(directory, 'a,b.raw'), Buffer.alloc(1024));
      return ['-blockdev', 'driver=file,node-name=f,filename=a,,b.raw'];
    },
  });
  const path = join(qemu.directory, 'a,b.raw');
  const { dev, ino } = statSync(path, { bigint: true });
  const expected = { dev: String(dev), ino: String(ino), path };
  expect(await openFilesOf(qemu.pid)).toContainEqual(expected);
  rmSync(path);
  expect(await openFilesOf(qemu.pid)).toContainEqual({ ...expected, path: `${path} (deleted)` });
  await using client = await QmpClient.connect({ path: qemu.path });
  await client.execute('blockdev-del', { 'node-name': 'f' });
  expect((await openFilesOf(qemu.pid))?.map((file) => file.ino)).not.toContain(String(ino));
  await qemu.kill('SIGKILL');
  expect(await openFilesOf(qemu.pid)).toBeUndefined();
});
