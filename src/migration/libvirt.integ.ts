/** Migrations of VMs of a real libvirtd: real guests under load, transient and persistent. */
import { readdir, stat } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { loadedVm, type LoadedVm, migrate, takeOver } from '../../lab/engine.ts';
import { Lab, LabDomain, type LabDisk, LabLibvirtd } from '../../lab/index.ts';
import { ferryError, run, systemClock } from '../base/index.ts';
import { BLOCK_COPY, BLOCK_JOB_ABORT, LibvirtClient } from '../libvirt/index.ts';
import type { LibvirtVm } from '../vm/index.ts';
import { copyTargetXml } from '../vm/libvirt/domain-xml.ts';
import { Journal } from '../journal/index.ts';
import { recoverOffline } from './recovery/recover-offline.ts';
import { slowGuest } from './swap/guest-brake.ts';
import { noteStop } from './swap/vm-stop.ts';
import { STEP, type StepTable } from './steps/index.ts';

const MiB = 2 ** 20;
/** Not root, so that what libvirt gives to its QEMU can be told from what it does not. */
const QEMU_USER = 65_534;

let lab: Lab;
let daemon: LabLibvirtd;
let domain: LabDomain;

beforeAll(async () => {
  lab = await Lab.open({ name: 'libvirt' });
  daemon = await LabLibvirtd.start(lab, { user: `+${QEMU_USER}` });
});
afterAll(async () => await lab[Symbol.asyncDispose]());

const connect = (): ReturnType<LabDomain['connect']> => domain.connect();

async function virsh(...args: string[]): Promise<string> {
  return (await run('virsh', ['-q', '-c', daemon.uri(), ...args])).stdout;
}

/** A QMP command, past libvirt. */
async function monitor(execute: string, args: object = {}): Promise<string> {
  const said = await virsh('qemu-monitor-command', domain.name, JSON.stringify({ execute, arguments: args }));
  expect(said).not.toContain('"error"');
  return said;
}

/** What `virsh domblklist` says: the file of each disk. */
async function files(...options: string[]): Promise<Record<string, string>> {
  const lines = (await virsh('domblklist', domain.name, ...options)).trim().split('\n');
  return Object.fromEntries(lines.map((line) => line.trim().split(/\s+/) as [string, string]));
}

/** How many bytes a second the guest may write to a disk; 0: as many as go. */
async function writeLimit(disk: string): Promise<number> {
  return Number(/write_bytes_sec\s*: (\d+)/.exec(await virsh('blkdeviotune', domain.name, disk))?.[1]);
}

/** A guest with a writer on each disk, the first of which stands on a backing image. */
async function load(
  name: string,
  format: 'raw' | 'qcow2',
  count: number,
  persistent: boolean,
  writes: { readonly length: number; readonly blockSize?: number } = { length: 32 * MiB },
): Promise<LoadedVm> {
  return await loadedVm(lab, {
    name,
    sourceName: `${name}-source`,
    targetName: `${name}-target`,
    disks: async (source) => {
      const disks: LabDisk[] = [];
      for (let n = 0; n < count; n += 1) {
        const path = join(source, `disk${n}.${format}`);
        await lab.image({ path, format, size: 64 * MiB, fill: { bytes: 32 * MiB, seed: n + 1 } });
        disks.push({ id: `vd${'abcdefgh'[n]}`, path, format });
      }
      return disks;
    },
    writers: (disks) =>
      disks.map(({ id }, n) => {
        const { length, blockSize = 4096 } = writes;
        return { disk: id, seed: n + 1, blockSize, region: { offset: 16 * MiB, length } };
      }),
    start: async (_, disks) => {
      domain = await LabDomain.start(lab, daemon, { name, disks, persistent });
      await domain.vm.booted();
      return domain.vm;
    },
  });
}

const nothingLost = (checks: Awaited<ReturnType<LoadedVm['check']>>): void =>
  expect(checks.map(({ lostCount, damagedCount }) => [lostCount, damagedCount])).toEqual(checks.map(() => [0, 0]));

/**
 * Begins a migration whose manager dies when the VM is suspended for a swap and one of its two disks has gone over.
 * @param forget libvirtd is killed before it has written that down
 * @returns its id
 */
async function diesBetweenPivots(
  { vm, target, stateDir }: LoadedVm,
  step: 'pivot' | 'fold',
  forget = false,
): Promise<string> {
  const dead = Promise.withResolvers<void>();
  const act: StepTable[typeof step]['act'] = async (migration) => {
    const { plan, ledger } = migration;
    const ids = plan.disks.map(({ jobs }) => (step === 'pivot' ? jobs.mirror : jobs.fold));
    if (step === 'fold') {
      for (const { id, jobs } of plan.disks) ledger.plan('job', jobs.fold, 'fold', id);
      const folds = plan.disks.map(({ id, jobs, nodes }) => {
        return { disk: id, job: jobs.fold, overlay: nodes.mirror, base: nodes.base };
      });
      await migration.vm.startFolds(folds, () => Promise.resolve());
    }
    while (!(await migration.vm.jobs(ids)).every(({ status }) => status === 'ready')) {
      await migration.vm.jobChange(ids, 100);
    }
    // Slowed down as well, if it is the pivot.
    if (step === 'pivot') expect(await slowGuest(migration, new Map([['vda', 4 * MiB]]))).toBe(true);
    await noteStop(migration)();
    await using client = await LibvirtClient.connect(daemon.uri());
    const { dom } = await client.call('DOMAIN_LOOKUP_BY_NAME', { name: domain.name });
    await client.call('DOMAIN_SUSPEND', { dom });
    const pivot = (): Promise<unknown> =>
      client.call('DOMAIN_BLOCK_JOB_ABORT', { dom, path: 'vda', flags: BLOCK_JOB_ABORT.PIVOT });
    await (forget ? daemon.killForgetting(domain.name, pivot) : pivot());
    dead.resolve();
    // Whoever is dead does nothing more.
    await new Promise(() => undefined);
  };
  let id = '';
  const dying = migrate(vm, {
    stateDir,
    request: { to: target, slowGuest: true },
    connect,
    steps: { ...STEP, [step]: { ...STEP[step], act } },
    watch: (migration, event) => {
      id = migration.plan.id;
      // What it owned is free for who takes over.
      if (event === undefined) void dead.promise.then(async () => await migration[Symbol.asyncDispose]());
    },
  });
  await Promise.race([dying, dead.promise]);
  return id;
}

describe('a transient VM with two qcow2 disks', () => {
  let loaded: LoadedVm;
  beforeAll(async () => {
    loaded = await load('transient', 'qcow2', 2, false);
  });

  test('a snapshot that libvirt keeps is a reason to refuse', async () => {
    await virsh(
      'snapshot-create-as',
      'transient',
      'mine',
      '--disk-only',
      '--diskspec',
      'vda,snapshot=no',
      '--diskspec',
      `vdb,file=${join(loaded.source, 'mine')}`,
    ); // prettier-ignore
    const refused = migrate(loaded.vm, { stateDir: loaded.stateDir, request: { to: loaded.target }, connect });
    await expect(refused).rejects.toThrow("libvirt keeps the snapshot 'mine'");
    await virsh('blockcommit', 'transient', 'vdb', '--active', '--pivot', '--wait');
    await virsh('snapshot-delete', 'transient', 'mine', '--metadata');
    await run('rm', [join(loaded.source, 'mine')]);
  });

  test('libvirtd is killed while it mirrors; aborted then: rolled back, nothing is left, the guest goes on', async () => {
    const { vm, source, target, stateDir, writers } = loaded;
    let killed = false;
    const steps: StepTable = {
      ...STEP,
      mirror: {
        ...STEP.mirror,
        act: async (migration) => {
          await STEP.mirror.act(migration);
          await daemon.kill();
          await daemon.untilReady();
          // As if it had just opened an image of the chain that it puts the mirror on.
          const node = { 'node-name': 'libvirt-90-storage', driver: 'file', filename: join(target, 'disk0.qcow2') };
          await monitor('blockdev-add', { ...node, 'read-only': true });
          const format = {
            'node-name': 'libvirt-90-format',
            driver: 'qcow2',
            file: 'libvirt-90-storage',
            backing: null,
          };
          await monitor('blockdev-add', { ...format, 'read-only': true });
          killed = true;
          migration.control.abort();
        },
      },
    };
    const { outcome } = await migrate(vm, { stateDir, request: { to: target }, connect, steps });
    expect([killed, outcome.kind], JSON.stringify(outcome)).toEqual([true, 'rolled-back']);
    expect(await files()).toEqual({ vda: join(source, 'disk0.qcow2'), vdb: join(source, 'disk1.qcow2') });
    expect([await readdir(source), await readdir(target)]).toEqual([['disk0.qcow2', 'disk1.qcow2'], []]);
    expect(await monitor('query-named-block-nodes')).not.toContain('libvirt-90');
    expect(await virsh('domstate', 'transient')).toContain('running');
    await Promise.all(writers.map((writer) => writer.advanced(20)));
  });

  test('the manager dies between two pivots: taken back, no disk is on another side than the other', async () => {
    const { vm, source, target, stateDir, writers } = loaded;
    const id = await diesBetweenPivots(loaded, 'pivot');
    expect(dirname((await files())['vda'] ?? '')).toBe(target);
    expect(dirname((await files())['vdb'] ?? '')).toBe(source);
    expect(await virsh('domstate', 'transient')).toContain('paused');
    expect(await writeLimit('vda')).toBe(MiB);

    const outcome = await takeOver(vm, { stateDir, id, connect });

    expect(outcome.kind, JSON.stringify(outcome)).toBe('rolled-back');
    expect(await files()).toEqual({ vda: join(source, 'disk0.qcow2'), vdb: join(source, 'disk1.qcow2') });
    expect([await readdir(source), await readdir(target)]).toEqual([['disk0.qcow2', 'disk1.qcow2'], []]);
    expect(await writeLimit('vda')).toBe(0);
    await Promise.all(writers.map((writer) => writer.advanced(20)));
  });

  test('it dies between two pivots of the fold: gone on with, nothing is lost, and libvirt knows', async () => {
    const { vm, source, target, stateDir, writers } = loaded;
    const id = await diesBetweenPivots(loaded, 'fold');
    expect(await files()).toMatchObject({ vda: join(target, 'disk0.qcow2') });
    expect((await files())['vdb']).toContain('.overlay.qcow2');

    const outcome = await takeOver(vm, { stateDir, id, connect });

    expect(outcome.kind, JSON.stringify(outcome)).toBe('done');
    await Promise.all(writers.map((writer) => writer.advanced(50)));
    expect(await files()).toEqual({ vda: join(target, 'disk0.qcow2'), vdb: join(target, 'disk1.qcow2') });
    expect((await stat(join(target, 'disk0.qcow2'))).uid).toBe(QEMU_USER);
    nothingLost(await loaded.check(({ path = '' }) => join(target, basename(path))));
    expect(await vm.ioErrors()).toEqual([]);
    expect([await readdir(source), await readdir(target)]).toEqual([[], ['disk0.qcow2', 'disk1.qcow2']]);
    expect(await virsh('dumpxml', 'transient')).not.toContain('<mirror');
    using journal = Journal.open(stateDir, { readOnly: true });
    expect(journal.ledger(id, { states: ['planned', 'made'] })).toEqual([]);
  });
});

/**
 * A target that takes less than the guest writes: libvirt's own limit on what a mirror copies, from its start on. QEMU does
 * not heed it any more once the mirror has caught up, which it never does here.
 */
async function connectSlow(): Promise<LibvirtVm> {
  const vm = await domain.connect();
  vm.startMirrors = async (mirrors) => {
    await using client = await LibvirtClient.connect(daemon.uri());
    const { dom } = await client.call('DOMAIN_LOOKUP_BY_NAME', { name: domain.name });
    const flags = BLOCK_COPY.SHALLOW | BLOCK_COPY.REUSE_EXT | BLOCK_COPY.TRANSIENT_JOB;
    const params = [{ field: 'bandwidth', type: 'ullong', value: BigInt(MiB) }] as const;
    for (const { disk, path } of mirrors) {
      await client.call('DOMAIN_BLOCK_COPY', { dom, path: disk, destxml: copyTargetXml(path), params, flags });
    }
  };
  return vm;
}

/**
 * libvirtd is killed when QEMU has taken the snapshot, and before that is written down: started again it believes what it wrote
 * before.
 */
async function connectForgetful(): Promise<LibvirtVm> {
  const vm = await domain.connect();
  const taking = vm.snapshot.bind(vm);
  vm.snapshot = async (overlays) => {
    await daemon.killForgetting(domain.name, () => taking(overlays));
    throw ferryError('LIBVIRT_INTERRUPTED', { address: daemon.uri(), why: 'killed', outcome: 'unknown' });
  };
  return vm;
}

test('a snapshot that QEMU has taken and libvirtd has not written down: the overlay stays, and nothing is lost', async () => {
  const loaded = await load('forgetful', 'qcow2', 2, false, { length: 8 * MiB });
  const { vm, source, target, stateDir, writers } = loaded;
  const { outcome, plan } = await migrate(vm, { stateDir, request: { to: target }, connect: connectForgetful });
  expect(outcome).toMatchObject({ kind: 'attention', cause: { code: 'SNAPSHOT_UNRECORDED' } });
  expect(Object.values(await files())).toEqual([join(source, 'disk0.qcow2'), join(source, 'disk1.qcow2')]);
  await Promise.all(writers.map((writer) => writer.advanced(50)));
  // As often as it is tried.
  for (const abort of [false, true]) {
    const again = await takeOver(vm, { stateDir, connect, id: plan.id, abort });
    expect(again).toMatchObject({ kind: 'attention', cause: { code: 'SNAPSHOT_UNRECORDED' } });
  }
  expect(await vm.ioErrors()).toEqual([]);
  await vm.kill();
  using journal = Journal.open(stateDir);
  expect((await recoverOffline(plan.id, { journal })).kind).toBe('rolled-back');
  nothingLost(await loaded.check(({ path = '' }) => path));
  expect([await readdir(source), await readdir(target)]).toEqual([['disk0.qcow2', 'disk1.qcow2'], []]);
});

test('the same when a fold that was broken off is being taken back, for one of two disks', async () => {
  const loaded = await load('forgetful2', 'qcow2', 2, false, { length: 8 * MiB });
  const { vm, target, stateDir, writers } = loaded;
  const id = await diesBetweenPivots(loaded, 'fold');
  const [overlay = ''] = (await readdir(target)).filter((name) => name.endsWith('-0.overlay.qcow2'));
  await daemon.killForgetting(domain.name, async () => {
    const [first, second] = [`vda,file=${join(target, overlay)}`, 'vdb,snapshot=no'];
    const flags = ['--disk-only', '--reuse-external', '--no-metadata', '--atomic'];
    await virsh('snapshot-create-as', domain.name, ...flags, '--diskspec', first, '--diskspec', second);
  });
  expect(await files()).toMatchObject({ vda: join(target, 'disk0.qcow2') });
  const again = await takeOver(vm, { stateDir, connect, id });
  expect(again, JSON.stringify(again)).toMatchObject({ kind: 'attention', cause: { code: 'SNAPSHOT_UNRECORDED' } });
  expect(await readdir(target)).toContain(overlay);
  await virsh('resume', domain.name);
  await Promise.all(writers.map((writer) => writer.advanced(50)));
  // Also while it runs.
  const running = await takeOver(vm, { stateDir, connect, id });
  expect(running, JSON.stringify(running)).toMatchObject({ kind: 'attention', cause: { code: 'SNAPSHOT_UNRECORDED' } });
  expect(await readdir(target)).toContain(overlay);
  expect(await vm.ioErrors()).toEqual([]);
  await vm.kill();
  using journal = Journal.open(stateDir);
  expect((await recoverOffline(id, { journal })).kind).toBe('done');
  nothingLost(await loaded.check(({ path = '' }) => join(target, basename(path))));
  expect(await readdir(target)).toEqual(['disk0.qcow2', 'disk1.qcow2']);
});

test('the same of a pivot: the VM stays suspended, and nothing is lost', async () => {
  const loaded = await load('forgetful3', 'qcow2', 2, false, { length: 8 * MiB });
  const { vm, source, target, stateDir } = loaded;
  const id = await diesBetweenPivots(loaded, 'pivot', true);
  expect(dirname((await files())['vda'] ?? '')).toBe(source);
  const outcome = await takeOver(vm, { stateDir, connect, id });
  expect(outcome, JSON.stringify(outcome)).toMatchObject({ kind: 'attention', cause: { code: 'JOB_UNRECORDED' } });
  expect(await virsh('domstate', domain.name)).toContain('paused');
  await vm.kill();
  using journal = Journal.open(stateDir);
  expect((await recoverOffline(id, { journal })).kind).toBe('rolled-back');
  nothingLost(await loaded.check(({ path = '' }) => path));
  expect([await readdir(source), await readdir(target)]).toEqual([['disk0.qcow2', 'disk1.qcow2'], []]);
});

describe('a persistent VM with a raw disk', () => {
  let loaded: LoadedVm;
  beforeAll(async () => {
    loaded = await load('persistent', 'raw', 1, true, { length: 8 * MiB, blockSize: 65_536 });
  });
  // Ten seconds without progress are two of these.
  const clock = { ...systemClock, monotonic: () => systemClock.monotonic() * 5 };

  test('its guest writes faster than the target takes it: that is said, and an abort works', async () => {
    const { vm, source, target, stateDir } = loaded;
    const { outcome, events } = await migrate(vm, {
      stateDir,
      request: { to: target },
      connect: connectSlow,
      clock,
      watch: (migration, event) => {
        if (event?.type === 'warning') migration.control.abort();
      },
    });
    expect(outcome.kind, JSON.stringify(outcome)).toBe('rolled-back');
    const said = events.flatMap((event) => (event.type === 'warning' ? [event.message] : []));
    expect(said[0]).toMatch(/the guest has written as fast as the target takes it .*with --slow-guest/);
    expect([await readdir(source), await readdir(target)]).toEqual([['disk0.raw'], []]);
  });

  test('slowed down it goes over; both definitions follow, and it starts from the target', async () => {
    const { vm, source, target, stateDir } = loaded;
    const { outcome, events } = await migrate(vm, {
      stateDir,
      request: { to: target, slowGuest: true },
      connect: connectSlow,
      clock,
    });
    const said = events.flatMap((event) => (event.type === 'warning' ? [event.message] : []));
    expect(outcome.kind, JSON.stringify([outcome, said])).toBe('done');
    expect(said.join()).toMatch(/the mirror of vda does not catch up: the guest may write [\d.]+ KiB a second/);
    expect(said.at(-1)).toBe("the guest's writes to vda are limited as before again");
    expect(await virsh('dumpxml', 'persistent')).not.toContain('<iotune');
    const moved = { vda: join(target, 'disk0.raw') };
    expect([await files(), await files('--inactive')]).toEqual([moved, moved]);
    nothingLost(await loaded.check(({ path = '' }) => join(target, basename(path))));
    expect([await readdir(source), await readdir(target)]).toEqual([[], ['disk0.raw']]);
    await virsh('destroy', 'persistent');
    await virsh('start', 'persistent');
    expect(await files()).toEqual(moved);
    await virsh('destroy', 'persistent');
    expect(await virsh('dumpxml', 'persistent', '--inactive')).not.toContain(source);
  });
});
