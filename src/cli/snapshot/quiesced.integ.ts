/** `--quiesce`: QEMU's own agent in a guest with a real file system, asked over its socket. */
import { readdir, readFile } from 'node:fs/promises';
import { connect } from 'node:net';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import {
  AGENT_CHANNEL,
  FILESYSTEM_DISK_SIZES,
  filesystemDisks,
  GUEST_FOLDER,
  holdFreeze,
  mountFilesystem,
  plugAgentPort,
  startGuestAgent,
} from '../../../lab/guest-agent.ts';
import { Lab, LabDomain, LabLibvirtd, type LabVm, type QemuBuild, qemuBuilds } from '../../../lab/index.ts';
import { dieTakingSnapshot } from '../../../lab/snapshot-child.ts';
import { systemClock } from '../../base/index.ts';
import { QemuVm } from '../../vm/index.ts';
import { Blockferry, type Ended } from '../testing/blockferry.ts';
import { type KeptOutcome, keptCommand } from '../testing/kept-command.ts';

const { builds } = await qemuBuilds();

const THAWED = 'the file systems of the guest may have been frozen since somebody died; they are thawed';

/** A VM whose guest has a file system, and who keeps its snapshots. */
interface Place {
  readonly vm: LabVm;
  readonly source: string;
  readonly state: string;
  /** The agent's. */
  readonly socket: string;
}

async function open(lab: Lab, name: string, build: QemuBuild): Promise<Place> {
  const source = await lab.storage('source, 1');
  const disks = await filesystemDisks(source);
  const vm = await lab.startVm({ name, disks, warm: FILESYSTEM_DISK_SIZES, build });
  await mountFilesystem(vm);
  return { vm, source, state: await lab.storage('state'), socket: join(source, "agent's") };
}

/** A snapshot command, by a clock on which agents are waited for less. */
async function command({ vm, state }: Place, ...argv: readonly string[]): Promise<KeptOutcome> {
  const clock = { ...systemClock, timeout: (ms: number) => systemClock.timeout(Math.min(ms, 2000)) };
  const connect = async (): Promise<QemuVm> => await QemuVm.connect({ path: vm.qmpPath }, { clock });
  return await keptCommand({ vm: vm.name, stateDir: state, connect, clock }, ...argv);
}

const create = (name: string, ...more: readonly string[]): readonly string[] => [
  'snapshot-create-as',
  name,
  '--disk-only',
  '--diskspec',
  'vdb,snapshot=no',
  ...more,
];

/** The guest writes a new file and does not sync it. Names of files are synced every five seconds. */
async function write({ vm }: Place, text: string): Promise<void> {
  expect(await vm.shell(`echo ${text} > ${GUEST_FOLDER}/$$`)).toMatchObject({ status: 0 });
}

async function holds(image: string, text: string): Promise<boolean> {
  return (await readFile(image)).includes(text);
}

/** Asks the agent for one thing, as somebody else. */
async function ask({ socket }: Place, command: string): Promise<string> {
  const agent = connect(socket);
  try {
    agent.write(`${JSON.stringify({ execute: command })}\n`);
    let answer = '';
    for await (const piece of agent) if ((answer += String(piece)).endsWith('\n')) break;
    return answer;
  } finally {
    agent.destroy();
  }
}

test.each(builds)('QEMU $label: what the guest has not synced is below a snapshot that is quiesced', async (build) => {
  await using lab = await Lab.open({ name: 'quiesced' });
  const here = await open(lab, `quiesced ${process.pid}`, build);
  const { vm, source } = here;
  const run = async (...argv: readonly string[]): Promise<KeptOutcome> => await command(here, ...argv);
  const files = (await readdir(source)).toSorted();
  const refused = async (): Promise<string> => {
    const { stderr, exitStatus, events } = await run(...create('sx', '--quiesce'));
    expect({ exitStatus, events }).toEqual({ exitStatus: 1, events: [] });
    return stderr;
  };

  expect(await refused()).toContain('error: argument unsupported: QEMU guest agent is not configured\n');
  await plugAgentPort(vm, here.socket, build === builds[0] ? undefined : 'agent0');
  expect(await refused()).toMatch(/error: Guest agent is not responding: QEMU guest agent is not connected\n/);
  await startGuestAgent(vm);
  const other = connect(here.socket);
  while (!(await refused()).includes('somebody else is connected'));
  other.destroy();
  while (!(await ask(here, 'guest-fsfreeze-freeze')).includes('return'));
  expect(await refused()).toMatch(
    /error: Requested operation is not valid: .* are frozen already, and not by blockferry\n/,
  );
  // What somebody else has frozen stays so.
  expect(await ask(here, 'guest-fsfreeze-status')).toContain('"frozen"');
  expect(await ask(here, 'guest-fsfreeze-thaw')).toContain('1');
  await vm.shell('kill -STOP $(cat /run/agent.pid)');
  expect(await refused()).toMatch(/error: Guest agent is not responding: it has said nothing for 10 s\n/);
  await vm.shell('kill -CONT $(cat /run/agent.pid)');
  expect((await readdir(source)).filter((name) => name !== "agent's").toSorted()).toEqual(files);

  await write(here, 'unsynced-1');
  expect(await run(...create('s1'))).toMatchObject({ exitStatus: 0 });
  expect(await holds(join(source, 'data.raw'), 'unsynced-1')).toBe(false);
  await write(here, 'unsynced-2');
  const s2 = await run(...create('s2', '--quiesce'));
  expect(s2, s2.stderr).toMatchObject({ exitStatus: 0, stdout: 'Domain snapshot s2 created\n' });
  expect(s2.events).toContainEqual({ type: 'frozen', ms: expect.any(Number) as number });
  expect(await holds(join(source, 'data.s1'), 'unsynced-1')).toBe(true);
  expect(await holds(join(source, 'data.s1'), 'unsynced-2')).toBe(true);
  // It goes on.
  await write(here, 'unsynced-3');
  expect(await ask(here, 'guest-fsfreeze-status')).toContain('"thawed"');
  // Of one that fails the guest is thawed as well.
  const gone = await run(...create('s3', '--quiesce', '--diskspec', `vda,file=${join(source, 'none', 'x')}`));
  expect(gone).toMatchObject({ exitStatus: 1 });
  await write(here, 'unsynced-4');
  expect(await vm.ioErrors()).toEqual([]);
});

test('a guest is thawed whenever whoever took the snapshot was killed', async () => {
  await using lab = await Lab.open({ name: 'quiesced killed' });
  const here = await open(lab, `quiesced killed ${process.pid}`, lab.build);
  const { vm, source, state } = here;
  await plugAgentPort(vm, here.socket);
  await startGuestAgent(vm);
  const run = async (...argv: readonly string[]): Promise<KeptOutcome> => await command(here, ...argv);
  const diskspecs = ['vdb,snapshot=no'];
  const order = { qmpPath: vm.qmpPath, stateDir: state, vm: vm.name, quiesce: true, diskspecs };

  await dieTakingSnapshot({ ...order, name: 's0', dies: 'before' });
  expect(await ask(here, 'guest-fsfreeze-status')).toContain('"thawed"');
  expect((await run('snapshot-list', '--name')).warnings).toEqual([
    THAWED,
    expect.stringContaining("'s0' died: it was not taken"),
  ]);
  await write(here, 'before');

  await dieTakingSnapshot({ ...order, name: 's1', dies: 'frozen' });
  expect(await ask(here, 'guest-fsfreeze-status')).toContain('"frozen"');
  const writing = write(here, 'waits');
  const status = await Blockferry.run('status', '--state-dir', state);
  expect(status.stdout).toContain('its file systems may be frozen');
  // One that cannot be thawed is told, and stays on record.
  await vm.shell('kill -STOP $(cat /run/agent.pid)');
  const frozen = await run('snapshot-list', '--name');
  expect(frozen.stderr).toContain(`the file systems of the guest of '${vm.name}' may still be frozen: the guest agent`);
  await vm.shell('kill -CONT $(cat /run/agent.pid)');
  expect((await run('snapshot-list', '--name')).warnings).toEqual([
    THAWED,
    expect.stringContaining("'s1' died: it was not taken"),
  ]);
  await writing;
  expect(await readdir(source)).not.toContain('data.s1');

  await write(here, 'unsynced');
  await dieTakingSnapshot({ ...order, name: 's2', dies: 'after' });
  expect(await ask(here, 'guest-fsfreeze-status')).toContain('"frozen"');
  const recovered = await Blockferry.run('recover', '--state-dir', state);
  expect(recovered, recovered.stderr).toMatchObject({ status: 0 });
  expect(recovered.stdout + recovered.stderr).toContain(`the snapshot 's2' of ${vm.name} was taken, and is recorded`);
  await write(here, 'goes-on');
  expect(await holds(join(source, 'data.raw'), 'unsynced')).toBe(true);

  // A signal does not end what is frozen.
  const third = await holdFreeze(vm);
  const patient = Blockferry.start(
    'snapshot-create-as',
    ...create('s3', '--quiesce').toSpliced(0, 1, vm.name),
    '--state-dir',
    state,
  );
  await third.begun();
  patient.kill('SIGTERM');
  await third.release();
  const patiently = await patient.ended;
  expect(patiently).toMatchObject({ status: 0, stdout: 'Domain snapshot s3 created\n' });
  expect(patiently.stderr).toContain('SIGTERM is not heeded: the guest may be frozen');

  // A freeze that is not answered in time may come yet: so it is told, and thawed by the next.
  const late = await holdFreeze(vm);
  const unanswered = await run(...create('s4', '--quiesce'));
  expect(unanswered.stderr).toContain('may still be frozen');
  await late.release();
  expect((await run('snapshot-list', '--name')).stdout).toBe('s2\ns3\n\n');
  await write(here, 'thawed');

  // Nothing is to be thawed of a QEMU that is gone.
  await dieTakingSnapshot({ ...order, name: 's5', dies: 'after' });
  await vm.kill();
  const last = await Blockferry.run('recover', '--state-dir', state);
  expect(last.stdout + last.stderr).not.toContain('thawed');
  expect(last).toMatchObject({ status: 0 });
});

test('a mirrored snapshot is quiesced as well, and its guest is thawed whenever whoever took it was killed', async () => {
  await using lab = await Lab.open({ name: 'quiesced mirror' });
  const here = await open(lab, `quiesced mirror ${process.pid}`, lab.build);
  const { vm, source, state } = here;
  const target = await lab.storage('target');
  const spec = `vda,mirror=${join(target, 'new')}`;
  const blockferry = async (...args: readonly string[]): Promise<Ended> =>
    await Blockferry.run(...args, '--state-dir', state);
  const quiesced = async (): Promise<Ended> =>
    await blockferry('snapshot-create-as', vm.name, 'm', '--disk-only', '--quiesce', '--diskspec', spec);
  const before = (await readdir(source)).toSorted();
  const refused = await quiesced();
  expect(refused.stderr).toContain('error: argument unsupported: QEMU guest agent is not configured\n  what to do: ');
  expect([(await readdir(source)).toSorted(), await readdir(target)]).toEqual([before, []]);
  await plugAgentPort(vm, here.socket);
  await startGuestAgent(vm);

  await write(here, 'unsynced-1');
  const taken = await quiesced();
  expect(taken, taken.stderr).toMatchObject({ status: 0, stdout: 'Domain snapshot m created\n' });
  expect(taken.stderr).toMatch(/^blockferry: guest's file systems frozen \d+\.\d ms$/m);
  expect(await holds(join(source, 'data.raw'), 'unsynced-1')).toBe(true);
  await write(here, 'goes-on');
  const abort = async (): Promise<KeptOutcome> => await command(here, 'snapshot-delete', 'm', '--mirror-abort');
  expect(await abort()).toMatchObject({ exitStatus: 0 });

  const order = { qmpPath: vm.qmpPath, stateDir: state, vm: vm.name, name: 'm', quiesce: true, diskspecs: [spec] };
  await dieTakingSnapshot({ ...order, dies: 'frozen' });
  expect(await ask(here, 'guest-fsfreeze-status')).toContain('"frozen"');
  expect((await blockferry('status')).stdout).toContain('guest-frozen');
  expect((await command(here, 'snapshot-list')).warnings).toContain(THAWED);
  await write(here, 'goes-on');
  // It goes on to be taken, and is quiesced as it was asked for.
  await write(here, 'unsynced-2');
  const recovered = await blockferry('recover');
  expect(recovered, recovered.stdout + recovered.stderr).toMatchObject({ status: 0 });
  expect(await holds(join(source, 'data.raw'), 'unsynced-2')).toBe(true);
  expect((await command(here, 'snapshot-list', '--name')).stdout).toBe('m\n\n');
  expect(await abort()).toMatchObject({ exitStatus: 0 });

  await dieTakingSnapshot({ ...order, dies: 'after' });
  expect(await ask(here, 'guest-fsfreeze-status')).toContain('"frozen"');
  const back = await blockferry('recover', '--back');
  expect(back, back.stdout + back.stderr).toMatchObject({ status: 0 });
  await write(here, 'goes-on');
  expect([(await readdir(source)).filter((name) => name !== "agent's"), await readdir(target)]).toEqual([before, []]);
  expect(await vm.ioErrors()).toEqual([]);
});

test('libvirt freezes and thaws for a mirrored snapshot, whoever of the two dies meanwhile', async () => {
  await using lab = await Lab.open({ name: 'quiesced libvirt' });
  const daemon = await LabLibvirtd.start(lab);
  const [source, target, state] = [
    await lab.storage('source'),
    await lab.storage('target'),
    await lab.storage('state'),
  ];
  const disks = await filesystemDisks(source);
  const { vm } = await LabDomain.start(lab, daemon, { name: 'VM4', disks, extraXml: AGENT_CHANNEL });
  await mountFilesystem(vm);
  const spec = `vda,mirror=${join(target, 'new')}`;
  const quiesced = ['snapshot-create-as', 'VM4', 'm', '--disk-only', '--quiesce', '--diskspec', spec];
  const options = ['--state-dir', state, '-c', daemon.uri()];
  const start = (): Blockferry => Blockferry.start(...quiesced, ...options);
  const abort = async (): Promise<Ended> =>
    await Blockferry.run('snapshot-delete', 'VM4', 'm', '--mirror-abort', ...options);
  const recover = async (): Promise<Ended> => await Blockferry.run('recover', '--state-dir', state);
  const write = async (text: string): Promise<void> => {
    expect(await vm.shell(`echo ${text} > ${GUEST_FOLDER}/$$`)).toMatchObject({ status: 0 });
  };

  const refused = await start().ended;
  expect(refused.stderr).toContain('error: Guest agent is not responding: QEMU guest agent is not connected\n');
  expect([await readdir(source), await readdir(target)]).toEqual([['data.raw', 'tools.raw'], []]);
  await startGuestAgent(vm);

  // libvirtd dies: whoever asked for it has the guest thawed by the next one, and takes the snapshot back.
  const freeze = await holdFreeze(vm);
  const orphaned = start();
  await freeze.begun();
  await daemon.kill();
  await freeze.release();
  const failed = await orphaned.ended;
  expect(failed, failed.stderr).toMatchObject({ status: 1 });
  expect(failed.stderr).not.toContain('may still be frozen');
  await write('unsynced-1');
  expect([await readdir(source), await readdir(target)]).toEqual([['data.raw', 'tools.raw'], []]);

  // Whoever asked for it dies: libvirt goes on, and thaws.
  const second = await holdFreeze(vm);
  const dying = start();
  await second.begun();
  dying.kill('SIGKILL');
  await dying.ended;
  await second.release();
  await write('goes-on');
  while (!(await readFile(join(source, 'data.raw'))).includes('unsynced-1'));
  const recovered = await recover();
  expect(recovered, recovered.stdout + recovered.stderr).toMatchObject({ status: 0 });
  const taken = await abort();
  expect(taken, taken.stderr).toMatchObject({ status: 0, stdout: 'Domain snapshot m deleted\n\n' });

  // Both die: the guest is frozen, and nobody is there.
  const third = await holdFreeze(vm);
  const last = start();
  await third.begun();
  last.kill('SIGKILL');
  await last.ended;
  await daemon.kill();
  await third.release();
  const back = await Blockferry.run('recover', '--back', '--state-dir', state);
  expect(back, back.stdout + back.stderr).toMatchObject({ status: 0 });
  expect(back.stdout + back.stderr).toContain(THAWED);
  await write('goes-on');
  expect([await readdir(source), await readdir(target)]).toEqual([['data.raw', 'tools.raw'], []]);
  expect(await vm.ioErrors()).toEqual([]);
});
