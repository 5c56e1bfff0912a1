/** The commands on VMs of libvirt. The guests are not waited for: their QEMU and their disks are all that is needed. */
import { readdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { copying, find } from '../../lab/cli-scene.ts';
import { Lab, LabDomain, LabLibvirtd } from '../../lab/index.ts';
import { run } from '../base/index.ts';
import { Blockferry } from './testing/blockferry.ts';

const MiB = 2 ** 20;
let lab: Lab;
let daemon: LabLibvirtd;

beforeAll(async () => {
  lab = await Lab.open({ name: 'libvirt-cli' });
  // Not root, so that it matters to whom libvirt gives the images.
  daemon = await LabLibvirtd.start(lab, { user: '+65534' });
});
afterAll(async () => await lab[Symbol.asyncDispose]());

interface Place {
  readonly domain: LabDomain;
  readonly source: string;
  readonly target: string;
  /** The options of every command. */
  readonly common: readonly string[];
}

async function place(name: string, persistent: boolean, format: 'raw' | 'qcow2' = 'qcow2'): Promise<Place> {
  const source = await lab.storage(`${name} it's <"source">`);
  const target = await lab.storage(`${name} & target`);
  const path = join(source, `a.${format}`);
  await lab.image({ path, format, size: 32 * MiB, fill: { bytes: 8 * MiB, seed: 1 } });
  const disks = [
    { id: 'vda', path, format },
    { id: 'hda', cdrom: true },
  ];
  const domain = await LabDomain.start(lab, daemon, { name, disks, persistent });
  return { domain, source, target, common: ['--state-dir', join(lab.folder, `${name}-state`)] };
}

const virsh = async (...args: string[]): Promise<string> =>
  (await run('virsh', ['-q', '-c', daemon.uri(), ...args])).stdout;

/** One that was killed while it copied. */
async function killedCopying({ domain, target, common }: Place): Promise<void> {
  const options = ['--to', target, '--bwlimit', '2m', '--yes', '--json', '--connect', daemon.uri()];
  const migration = Blockferry.start('migrate', domain.name, ...options, ...common);
  await copying(migration);
  migration.kill('SIGKILL');
  await migration.ended;
}

describe('a transient VM', () => {
  let here: Place;
  beforeAll(async () => {
    here = await place('cli-transient', false);
  });

  test('discover shows it as libvirt knows it', async () => {
    const { status, lines } = await Blockferry.json('discover', '--connect', daemon.uri());
    const vm = lines.find((line) => line.type === 'vm' && line['name'] === 'cli-transient');
    expect([status, vm]).toMatchObject([
      0,
      {
        managedBy: 'libvirt',
        status: 'running',
        disks: [
          { id: 'vda', size: 32 * MiB, format: 'qcow2', image: join(here.source, 'a.qcow2') },
          { id: 'hda', removable: true },
        ],
      },
    ]);
  });

  test('plan: what stays, and that it is suspended; its own monitor is refused', async () => {
    const asked = ['plan', 'cli-transient', '--to', here.target, '--connect', daemon.uri(), ...here.common];
    const { status, stdout } = await Blockferry.run(...asked);
    expect([status, stdout]).toEqual([0, expect.stringContaining('hda')]);
    expect(await readdir(here.target)).toEqual([]);
    const { lines } = await Blockferry.json('discover', '--connect', daemon.uri());
    const vm = lines.find((line) => line['name'] === 'cli-transient') as unknown as { monitors: { address: string }[] };
    const byMonitor = ['plan', '--qmp', vm.monitors[0]?.address ?? '', '--to', here.target, ...here.common];
    const refused = await Blockferry.run(...byMonitor);
    expect([refused.status, refused.stderr]).toEqual([3, expect.stringContaining('managed by libvirt')]);
  });

  test('migrate is killed while it copies; recover sees it through', async () => {
    await killedCopying(here);
    const list = await Blockferry.run(
      'snapshot-list',
      'cli-transient',
      '--mirrored',
      '-c',
      daemon.uri(),
      ...here.common,
    );
    expect(list.stdout).toMatch(/ blockferry-\S+ {3}\d{4}-.* disk-snapshot {3}copying\n/);
    const second = ['migrate', 'cli-transient', '--to', here.target, '--connect', daemon.uri(), ...here.common];
    expect((await Blockferry.run(...second)).stderr).toContain('--yes');
    const { status, lines } = await Blockferry.json('recover', ...here.common);
    expect([status, find(lines, 'result')], JSON.stringify(lines.at(-1))).toMatchObject([0, { outcome: 'done' }]);
    expect(await virsh('domblklist', 'cli-transient')).toContain(join(here.target, 'a.qcow2'));
    expect([await readdir(here.source), await readdir(here.target)]).toEqual([[], ['a.qcow2']]);
    expect(await virsh('domstate', 'cli-transient')).toContain('running');
    await virsh('destroy', 'cli-transient');
  });
});

describe('a persistent VM whose QEMU dies', () => {
  test('before the swap: the source has all, and the definition names it again', async () => {
    const here = await place('dies', true, 'raw');
    await killedCopying(here);
    expect(await virsh('domblklist', 'dies', '--inactive')).toContain('.overlay.qcow2');
    const before = await readdir(here.source);
    expect(before).toHaveLength(2);
    await daemon.kill({ stayDown: true });
    await here.domain.vm.kill();
    const early = await Blockferry.json('recover', ...here.common);
    expect([early.status, await readdir(here.source)]).toEqual([1, before]);
    expect(JSON.stringify(early.lines.at(-1))).toContain('libvirt');
    await daemon.rise();
    const { status, lines } = await Blockferry.json('recover', ...here.common);
    expect([status, find(lines, 'result')], JSON.stringify(lines.at(-1))).toMatchObject([
      0,
      { outcome: 'rolled-back' },
    ]);
    expect([await readdir(here.source), await readdir(here.target)]).toEqual([['a.raw'], []]);
    await virsh('start', 'dies');
    expect(await virsh('domblklist', 'dies')).toContain(join(here.source, 'a.raw'));
    await virsh('destroy', 'dies');
  });

  test('libvirtd notes it late: nothing is touched before, and it starts afterwards', async () => {
    const here = await place('dies3', true);
    await killedCopying(here);
    const before = await readdir(here.source);
    const pids = daemon.pids('libvirtd');
    for (const pid of pids) process.kill(pid, 'SIGSTOP');
    await here.domain.vm.kill();
    const recovering = Blockferry.json('recover', ...here.common);
    await sleep(2000);
    expect(await readdir(here.source)).toEqual(before);
    for (const pid of pids) process.kill(pid, 'SIGCONT');
    expect((await recovering).status).toBe(0);
    expect([await readdir(here.source), await readdir(here.target)]).toEqual([['a.qcow2'], []]);
    // What it has not given back it would refuse to give again.
    await virsh('start', 'dies3');
    await virsh('destroy', 'dies3');
  });

  test('while blockferry drives: it goes back by itself, and the definition names the source', async () => {
    const here = await place('dies2', true, 'raw');
    const options = ['--to', here.target, '--bwlimit', '2m', '--yes', '--json', '--connect', daemon.uri()];
    const migration = Blockferry.start('migrate', 'dies2', ...options, ...here.common);
    await copying(migration);
    await here.domain.vm.kill();
    await migration.ended;
    expect(find(migration.lines, 'result')).toMatchObject({ outcome: 'rolled-back' });
    expect(await virsh('domblklist', 'dies2', '--inactive')).toContain(join(here.source, 'a.raw'));
  });
});

test('a VM that libvirt has forgotten is not called off: its process is named, and recover works when that has ended', async () => {
  const here = await place('forgotten', true, 'raw');
  await killedCopying(here);
  // What libvirt 9.0 does by itself when it is killed while it concludes a copy: it cannot read what it has written down.
  await daemon.kill({ stayDown: true });
  await rm(join(daemon.folder, 'run-libvirt', 'qemu', 'forgotten.xml'));
  await daemon.rise();
  expect(await virsh('domstate', 'forgotten')).toContain('shut off');
  const asked = [
    ['recover', ...here.common],
    ['plan', 'forgotten', '--to', here.target, '--connect', daemon.uri(), ...here.common],
  ];
  for (const args of asked) {
    const { status, stderr } = await Blockferry.run(...args);
    expect([status, stderr]).toEqual([5, expect.stringContaining(`its QEMU does (pid ${here.domain.vm.pid})`)]);
    expect(stderr).toContain('Do not start it');
  }
  await here.domain.vm.kill();
  const { status, lines } = await Blockferry.json('recover', ...here.common);
  expect([status, find(lines, 'result')], JSON.stringify(lines.at(-1))).toMatchObject([0, { outcome: 'rolled-back' }]);
  expect([await readdir(here.source), await readdir(here.target)]).toEqual([['a.raw'], []]);
  expect(await virsh('domblklist', 'forgotten', '--inactive')).toContain(join(here.source, 'a.raw'));
});
