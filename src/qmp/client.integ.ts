import { once } from 'node:events';
import { chmod } from 'node:fs/promises';
import { createServer, type Socket } from 'node:net';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { qemuBuilds } from '../../lab/qemu-builds.ts';
import { FerryError } from '../base/index.ts';
import { QmpClient } from './client.ts';
import { isQmpCommandError } from './errors.ts';
import { QmpSchema } from './schema.ts';
import { freePort, RealQemu } from './testing/real-qemu.ts';

const { builds, missing } = await qemuBuilds();
const programs = builds.flatMap(({ label, system, storageDaemon, env }) => [
  { name: `system emulator, ${label}`, program: system, env, system: true },
  { name: `storage daemon, ${label}`, program: storageDaemon, env, system: false },
]);

for (const { label, reason } of missing) {
  test(`QEMU of ${label}`, (context) => context.skip(reason));
}

async function codeOf(promise: Promise<unknown>): Promise<string> {
  try {
    await promise;
  } catch (error) {
    if (error instanceof FerryError) return error.code;
    throw error;
  }
  return 'no error';
}

describe.each(programs)('$name', ({ program, env, system }) => {
  test('over a unix socket and over TCP', async () => {
    const port = await freePort();
    const tcp = `socket,id=tcp,host=127.0.0.1,port=${port},server=on,wait=off`;
    const monitor = system ? ['-mon', 'chardev=tcp,mode=control'] : ['--monitor', 'chardev=tcp'];
    await using qemu = await RealQemu.start(program, { env, args: () => ['--chardev', tcp, ...monitor] });
    for (const address of [{ path: qemu.path }, { host: '127.0.0.1', port }]) {
      await using client = await QmpClient.connect(address);
      expect(client.greeting.version.qemu.major).toBeGreaterThanOrEqual(6);
      expect(client.oob).toBe(true);
      expect(await client.execute('query-jobs')).toEqual([]);
    }
  });

  test('a hundred commands in flight get their own answers', async () => {
    await using qemu = await RealQemu.start(program, { env });
    await using client = await QmpClient.connect({ path: qemu.path });
    const names = Array.from({ length: 100 }, (_, at) => `node-${at}`);
    const added = names.map((name) => client.execute('blockdev-add', { driver: 'null-co', 'node-name': name }));
    const refused = names.map((name) => client.execute('blockdev-del', { 'node-name': `no-${name}` }).catch(String));
    const nodes = client.execute('query-named-block-nodes', { flat: true });
    await Promise.all(added);
    expect(new Set((await nodes).map((node) => node['node-name']))).toEqual(new Set(names));
    for (const [at, text] of (await Promise.all(refused)).entries()) expect(text).toContain(`no-node-${at}'`);
  });

  test('64-bit integers are exact', async () => {
    await using qemu = await RealQemu.start(program, { env });
    await using client = await QmpClient.connect({ path: qemu.path });
    // QEMU rounds the size up to sectors of 512 bytes.
    await client.execute('blockdev-add', { driver: 'null-co', 'node-name': 'big', size: 2n ** 62n - 1535n });
    const [node] = await client.execute('query-named-block-nodes');
    expect(node?.image['virtual-size']).toBe(2n ** 62n - 1024n);
  });

  test('one client at a time: the second is told, and served when the first has gone', async () => {
    await using qemu = await RealQemu.start(program, { env });
    const first = await QmpClient.connect({ path: qemu.path });
    const attempts = Array.from({ length: 5 }, () =>
      codeOf(QmpClient.connect({ path: qemu.path }, { connectTimeoutMs: 100 })),
    );
    expect(await Promise.all(attempts)).toEqual(Array(5).fill('QMP_BUSY'));
    const second = QmpClient.connect({ path: qemu.path });
    first.close();
    await using client = await second;
    expect(await client.execute('query-jobs')).toEqual([]);
  });

  test('killed while commands are under way', async () => {
    await using qemu = await RealQemu.start(program, { env });
    const client = await QmpClient.connect({ path: qemu.path });
    using queue = client.listen(['JOB_STATUS_CHANGE']);
    await qemu.kill('SIGSTOP');
    const waits = [codeOf(client.execute('query-jobs')), codeOf(client.execute('quit')), codeOf(queue.next())];
    await qemu.kill('SIGKILL');
    expect(await Promise.all(waits)).toEqual(['QMP_INTERRUPTED', 'QMP_INTERRUPTED', 'QMP_INTERRUPTED']);
    expect(await codeOf(client.execute('query-jobs'))).toBe('QMP_CLOSED');
    expect(await codeOf(QmpClient.connect({ path: qemu.path }))).toBe('QMP_REFUSED');
  });

  test('quit is answered before the connection ends', async () => {
    await using qemu = await RealQemu.start(program, { env });
    const client = await QmpClient.connect({ path: qemu.path });
    expect(await client.execute('quit')).toEqual({});
    expect((await client.closed).code).toBe('QMP_INTERRUPTED');
    await qemu.ended();
    expect(await codeOf(QmpClient.connect({ path: qemu.path }))).toBe('QMP_NO_SOCKET');
  });

  test("a job's events come to the queue that was opened before it", async () => {
    await using qemu = await RealQemu.start(program, { env });
    await using client = await QmpClient.connect({ path: qemu.path });
    using changes = client.listen(['JOB_STATUS_CHANGE']);
    await client.execute('blockdev-create', {
      'job-id': 'make',
      options: { driver: 'file', filename: join(qemu.directory, 'image'), size: 2 ** 20 },
    });
    const seen: string[] = [];
    for await (const { data } of changes) {
      expect(data.id).toBe('make');
      seen.push(data.status);
      if (data.status === 'concluded') break;
    }
    expect(seen).toEqual(['created', 'running', 'waiting', 'pending', 'concluded']);
    await client.execute('job-dismiss', { id: 'make' });
  });

  test('the schema answers what this program has', async () => {
    await using qemu = await RealQemu.start(program, { env });
    await using client = await QmpClient.connect({ path: qemu.path });
    const schema = await QmpSchema.load(client);
    expect(schema.has('blockdev-mirror')).toBe(true);
    expect(schema.has('system_powerdown')).toBe(system);
    expect(schema.has('yank')).toBe(system);
    expect(schema.has('JOB_STATUS_CHANGE')).toBe(false);
    expect(schema.hasEvent('JOB_STATUS_CHANGE')).toBe(true);
    expect(schema.hasEvent('SHUTDOWN')).toBe(system);
    expect(schema.hasArgument('blockdev-mirror', 'copy-mode', 'write-blocking')).toBe(true);
    expect(schema.hasArgument('blockdev-mirror', 'copy-mode', 'write-backing')).toBe(false);
    expect(schema.hasArgument('blockdev-reopen', 'options', 'backing', 'file', 'filename')).toBe(true);
    expect(schema.hasArgument('blockdev-add', 'driver', 'qcow2')).toBe(true);
    expect(schema.hasReturn('query-block-jobs', 'status', 'pending')).toBe(true);
    expect(schema.canRunOutOfBand('query-block-jobs')).toBe(false);
    // What the schema says and what a command does are the same thing.
    const change = client.execute('block-job-change', { type: 'mirror', id: 'none', 'copy-mode': 'write-blocking' });
    const refusal = await change.catch((error: unknown) => error);
    const known = schema.hasArgument('block-job-change', 'copy-mode');
    expect(isQmpCommandError(refusal, 'CommandNotFound')).toBe(!known);
    expect(isQmpCommandError(refusal)).toBe(true);
  });
});

describe.each(builds)('system emulator, $label', ({ system, env }) => {
  test('a pretty monitor is read like any other', async () => {
    await using qemu = await RealQemu.start(system, {
      env,
      args: () => ['-qmp-pretty', 'unix:pretty.sock,server=on,wait=off'],
    });
    await using client = await QmpClient.connect({ path: join(qemu.directory, 'pretty.sock') });
    expect(await client.execute('query-status')).toMatchObject({ status: 'prelaunch', running: false });
    expect(await client.execute('human-monitor-command', { 'command-line': 'info status' })).toContain('VM status');
  });

  test('out of band passes a monitor that a command blocks', async () => {
    await using qemu = await RealQemu.start(system, { env });
    await using client = await QmpClient.connect({ path: qemu.path });
    // An NBD server that says nothing: opening it blocks QEMU's monitor until the connection ends.
    const silent = createServer().listen(join(qemu.directory, 'nbd.sock'));
    const connection = once(silent, 'connection') as Promise<[Socket]>;
    const server = { type: 'unix', path: join(qemu.directory, 'nbd.sock') } as const;
    const adding = codeOf(client.execute('blockdev-add', { driver: 'nbd', 'node-name': 'stuck', server }));
    const [socket] = await connection;
    let answered = false;
    const status = client.execute('query-status').then(() => (answered = true));
    const instances = await client.execute('query-yank', {}, { oob: true });
    expect(instances).toContainEqual({ type: 'block-node', 'node-name': 'stuck' });
    expect(answered).toBe(false);
    socket.destroy();
    silent.close();
    expect(await adding).toBe('QMP_COMMAND');
    await status;
  });

  test('no permission to the socket', async () => {
    await using qemu = await RealQemu.start(system, { env });
    const self = process.geteuid?.();
    await chmod(qemu.path, 0);
    // Root may do anything, so for the time of the system call it is somebody else.
    if (self === 0) process.seteuid?.(65_534);
    const connecting = codeOf(QmpClient.connect({ path: qemu.path }));
    if (self === 0) process.seteuid?.(self);
    expect(await connecting).toBe('QMP_DENIED');
  });

  test('the human monitor is not taken for QMP', async () => {
    await using qemu = await RealQemu.start(system, {
      env,
      args: () => ['-monitor', 'unix:hmp.sock,server=on,wait=off'],
    });
    const connecting = QmpClient.connect({ path: join(qemu.directory, 'hmp.sock') });
    await expect(connecting).rejects.toThrow(/human monitor/);
  });
});
