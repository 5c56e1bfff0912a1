import { spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, readFileSync } from 'node:fs';
import { once } from 'node:events';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { describe, expect, test, vi } from 'vitest';
import { QmpClient } from '../src/qmp/index.ts';
import { checkWrites, Lab, openChain, qemuBuilds, type ReadDisk } from './index.ts';
import { seededBytes } from './lab-image.ts';
import { requirePrograms } from './requires.ts';

const MIB = 2 ** 20;
const ODD = 'fast, 100% = "x" \'y\' é';
const { builds, missing } = await qemuBuilds();

for (const { label, reason } of missing) {
  test(`QEMU of ${label}`, (context) => context.skip(reason));
}

describe.each(builds)('QEMU $version ($label)', (build) => {
  // Each style on one build: how the lab finds a loss depends on neither.
  test.each(build === builds[0] ? (['blockdev'] as const) : (['drive'] as const))(
    'a guest under load is killed, and no acknowledged write is lost: %s',
    async (style) => {
      await using lab = await Lab.open({ name: 'load', build });
      const storage = await lab.storage(ODD);
      const [base, a, b] = ['base', 'a', 'b'].map((name) => join(storage, `${name}, = %41`)) as [
        string,
        string,
        string,
      ];
      await lab.image({ path: base, format: 'raw', size: 64 * MIB, fill: { bytes: MIB, seed: 7 } });
      await lab.image({ path: a, format: 'qcow2', backing: { path: base, format: 'raw' } });
      await lab.image({ path: b, format: 'raw', size: 64 * MIB });
      const vm = await lab.startVm({
        name: ODD,
        style,
        disks: [
          { id: 'b', path: b, format: 'raw', serial: 'é, second', iothread: 'io1', discard: 'unmap' },
          { id: 'a', path: a, format: 'qcow2', discard: 'unmap' },
        ],
      });
      await vm.booted();
      expect(new Set(vm.devices.keys())).toEqual(new Set(['a', 'b']));
      expect(await vm.checksum('a', { offset: 0, length: MIB })).toBe(
        createHash('sha256')
          .update(seededBytes(7, 0, MIB))
          .digest('hex'),
      );

      const half = 32 * MIB;
      const writers = await Promise.all([
        vm.startWriter({ disk: 'a', seed: 1, zeroEvery: 7, discardEvery: 11 }),
        vm.startWriter({ disk: 'b', seed: 2, blockSize: 512, region: { offset: MIB, length: MIB } }),
      ]);
      const part = { offset: half, size: half };
      const load = await vm.startFio({ disk: 'b', pattern: 'randrw', iops: 50, verify: true, ...part });
      await Promise.all(writers.map(async (writer) => await writer.advanced(300)));
      const fio = await load.stop();
      expect(fio.error).toBe(0);
      expect(fio.write.ios).toBeGreaterThan(0);
      expect(fio.write.latencyMs.max).toBeGreaterThan(0);
      expect(await vm.ioErrors()).toEqual([]);

      await vm.kill();
      expect(await vm.exited).toEqual({ status: null, signal: 'SIGKILL' });
      for (const [writer, path, format] of [
        [writers[0], a, 'qcow2'],
        [writers[1], b, 'raw'],
      ] as const) {
        const record = await writer.stop();
        expect(record.acknowledged).toBeGreaterThan(300);
        expect(writer.latenciesMs()).toHaveLength(record.acknowledged);
        await using chain = await openChain(path, format, build);
        const read: ReadDisk = async (offset, length) => await chain.read(offset, length);
        const base = Buffer.concat([seededBytes(7, 0, MIB), Buffer.alloc(63 * MIB)]);
        const before: ReadDisk = async (offset, length) => base.subarray(offset, offset + length);
        const check = await checkWrites(record, read, writer.disk === 'a' ? { before } : {});
        expect(check).toMatchObject({ lost: [], lostCount: 0, damagedCount: 0 });
        expect(check.writtenBlocks).toBeGreaterThan(200);
      }
    },
  );

  test('a failed write is seen by the writer, by fio and in the kernel log', async () => {
    await using lab = await Lab.open({ name: 'errors', build });
    const path = join(await lab.storage('s'), 'bad.raw');
    await lab.image({ path, format: 'raw', size: 16 * MIB });
    const vm = await lab.startVm({ name: 'bad', disks: [{ id: 'bad', path, format: 'raw', failWrites: true }] });
    await expect(vm.startWriter({ disk: 'bad' })).rejects.toThrow('Input/output error');
    const seen = (await vm.ioErrors()).length;
    expect(seen).toBeGreaterThan(0);
    const load = await vm.startFio({ disk: 'bad', pattern: 'randwrite', iops: 10 });
    // It resolves when I/O has begun, which is before the first has failed. The kernel may keep the second line to itself, and
    // fio's own word counts.
    for (let look = 0; look < 200 && (await vm.ioErrors()).length === seen; look++) await sleep(50);
    expect((await load.stop()).error).toBe(5);
    await vm.stop();
    expect(await vm.exited).toEqual({ status: 0, signal: null });
  });

  test('a chain of named nodes, a CD-ROM drive and two monitors, without a guest', async () => {
    await using lab = await Lab.open({ name: 'nodes', build });
    const storage = await lab.storage(ODD);
    const paths = ['c', 'b', 'a'].map((name) => join(storage, name)) as [string, string, string];
    await lab.image({ path: paths[0], format: 'qcow2', size: MIB });
    await lab.image({ path: paths[1], format: 'qcow2', backing: { path: 'c', format: 'qcow2' } });
    await lab.image({ path: paths[2], format: 'qcow2', backing: { path: 'b', format: 'qcow2' } });
    const vm = await lab.startVm({
      name: 'nodes',
      uuid: '6f0f6f3e-6f5b-4d3c-9d68-0a8d6e8f7a11',
      boot: false,
      monitors: 2,
      disks: [
        { id: 'a', path: paths[2], format: 'qcow2', explicitChain: true, separateFileNode: true },
        { id: 'cd', cdrom: true },
      ],
    });
    expect(vm.qmpPaths).toHaveLength(2);
    await using qmp = await QmpClient.connect({ path: vm.qmpPath });
    const nodes = (await qmp.execute('query-named-block-nodes')).map((node) => node['node-name']);
    expect(new Set(nodes)).toEqual(new Set(['base-a-1', 'base-a-2', 'file-a', 'file-a-1', 'file-a-2', 'node-a']));
    await vm.stop();
    expect(await vm.exited).toEqual({ status: 0, signal: null });
  });
});

/** Whether the process has ended; one that its parent has not waited for yet has. */
function hasEnded(pid: number): boolean {
  try {
    return /^\d+ \(.*\) Z/s.test(readFileSync(`/proc/${pid}/stat`, 'utf8'));
  } catch {
    return true;
  }
}

describe('clean-up', () => {
  test('after a test that fails: no process, no folder, and what was deferred is undone', async () => {
    let pid = 0;
    let folder = '';
    const undone: string[] = [];
    const failing = async (): Promise<void> => {
      await using lab = await Lab.open({ name: 'fails' });
      folder = lab.folder;
      lab.defer(() => void undone.push('first'));
      lab.defer(() => void undone.push('second'));
      pid = (await lab.startVm({ name: 'vm', disks: [], boot: false })).pid;
      expect(hasEnded(pid)).toBe(false);
      throw new Error('the test failed');
    };
    await expect(failing()).rejects.toThrow('the test failed');
    expect(hasEnded(pid)).toBe(true);
    expect(existsSync(folder)).toBe(false);
    expect(undone).toEqual(['second', 'first']);
  });

  test.each(['SIGKILL', 'SIGINT', 'exit'] as const)('after the end of the process: %s', async (how) => {
    const script = `
      const { Lab } = await import(${JSON.stringify(join(import.meta.dirname, 'index.ts'))});
      const lab = await Lab.open({ name: 'dies' });
      const vm = await lab.startVm({ name: 'vm', disks: [], boot: false });
      console.log(JSON.stringify({ folder: lab.folder, pid: vm.pid }));
      process.stdin.on('data', () => process.exit(0));`;
    const child = spawn(process.execPath, ['--input-type=module', '-e', script], {
      stdio: ['pipe', 'pipe', 'inherit'],
    });
    const exited = once(child, 'exit');
    const [line] = (await once(child.stdout, 'data')) as [Buffer];
    const { folder, pid } = JSON.parse(line.toString()) as { folder: string; pid: number };
    expect(hasEnded(pid)).toBe(false);
    if (how === 'exit') child.stdin.write('go');
    else child.kill(how);
    expect((await exited)[0]).toBe({ SIGKILL: null, SIGINT: 130, exit: 0 }[how]);
    while (!hasEnded(pid)) await sleep(10);
    // Nobody could remove it in the killed process: the next lab does.
    if (how === 'SIGKILL') await (await Lab.open({ name: 'next' }))[Symbol.asyncDispose]();
    expect(existsSync(folder)).toBe(false);
  });
});

test('a QEMU that does not start says why', async () => {
  await using lab = await Lab.open({ name: 'broken' });
  const vm = lab.startVm({ name: 'vm', disks: [], boot: false, extraArgs: ['-no-such-option'] });
  await expect(vm).rejects.toThrow(/ended at once \(1\): .*no-such-option/s);
});

test('a missing program is named with the line that installs it', () => {
  vi.stubEnv('PATH', '/nowhere');
  try {
    expect(() => requirePrograms('qemu-img', 'fio', 'nbdkit')).toThrow(
      'the lab needs qemu-img, fio, nbdkit, not found here; install: sudo apt-get install qemu-utils fio nbdkit',
    );
  } finally {
    vi.unstubAllEnvs();
  }
});
