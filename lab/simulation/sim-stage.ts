import { join } from 'node:path';
import { QemuVm } from '../../src/vm/index.ts';
import { LibvirtVm } from '../../src/vm/libvirt/index.ts';
import { conformityScript, type Stage } from './conformity-script.ts';
import type { DomainStage } from './domain-script.ts';
import { BLOCKS } from './guest.ts';
import { readChain, SimFiles, sync } from './sim-files.ts';
import { simClock } from './sim-clock.ts';
import { DISK_BYTES, simHost } from './sim-host.ts';
import { DOMAIN, simReach } from './sim-libvirt-client.ts';
import { SimLibvirtd } from './sim-libvirtd.ts';
import { dialler } from './sim-monitor.ts';
import { BEHAVIOUR } from './sim-qemu.ts';
import { World } from './world.ts';

/** What the script did, and what the first disk holds afterwards. */
export interface Conformity {
  readonly lines: readonly string[];
  readonly blocks: readonly number[];
}

export const STAGE_DISKS: Stage['disks'] = [
  { id: 'a', name: 'a.raw', format: 'raw' },
  { id: 'b', name: 'b.qcow2', format: 'qcow2' },
];

/** The disks of `forgetfulScript`, the first of which are those of `domainScript`. */
export const DOMAIN_DISKS: DomainStage['disks'] = [
  { id: 'vda', name: 'a.raw', format: 'raw' },
  { id: 'vdb', name: 'b.qcow2', format: 'qcow2' },
  { id: 'vdc', name: 'c.raw', format: 'raw' },
  { id: 'vdd', name: 'd.qcow2', format: 'qcow2' },
];

const [SOURCE, TARGET] = ['/source', '/target'];

/** A simulated VM that nobody migrates and whose guest writes nothing. */
function makeWorld(build: keyof typeof BEHAVIOUR, disks: Stage['disks']): World {
  const files = new SimFiles(
    new Map([
      [SOURCE, '1'],
      [TARGET, '2'],
    ]),
  );
  const empty = Array.from({ length: BLOCKS }, () => 0);
  for (const { name, format } of disks) sync(files.make(join(SOURCE, name), format, empty.slice()));
  const world = new World({
    seed: 1,
    faults: [],
    files,
    behaviour: BEHAVIOUR[build],
    writeRate: 0,
    migration: '',
    keepTrace: false,
    canSpoil: false,
  });
  for (const { id, name } of disks) world.qemu.plug(id, join(SOURCE, name), [`node-${id}`]);
  return world;
}

/** Plays a script to its end. */
async function played(world: World, script: Promise<readonly string[]>): Promise<Conformity> {
  let lines: readonly string[] | undefined;
  let failure: unknown;
  void script.then(
    (all) => (lines = all),
    (error: unknown) => (failure = error),
  );
  await world.until(() => lines !== undefined || failure !== undefined);
  if (failure !== undefined) throw failure as Error;
  if (lines === undefined) throw new Error(world.breach ?? 'the script stands still');
  const chain = world.files.chain(join(TARGET, 'a.raw'));
  return { lines, blocks: Array.from({ length: BLOCKS }, (_, block) => readChain(chain, block)) };
}

function write(world: World): Stage['write'] {
  return (disk, block, value) => {
    world.qemu.finish({ disk, block, value });
    return Promise.resolve();
  };
}

/** The script on a simulated VM. */
export async function simulatedConformity(build: keyof typeof BEHAVIOUR): Promise<Conformity> {
  const world = makeWorld(build, STAGE_DISKS);
  const manager = world.newManager();
  const dial = dialler(world, manager);
  const play = async (): Promise<readonly string[]> => {
    const vm = await QemuVm.over(dial, simClock(world, manager));
    const { qmp } = await dial();
    return await conformityScript({
      vm,
      host: simHost(world, manager),
      source: SOURCE,
      target: TARGET,
      size: DISK_BYTES,
      disks: STAGE_DISKS,
      qmp: (command, args) => qmp.executeRaw(command, args),
      write: write(world),
    });
  };
  return await played(world, play());
}

/** A script of a VM of libvirt on a simulated libvirtd with QEMU 7.2. */
export async function simulatedDomain(
  script: (stage: DomainStage) => Promise<readonly string[]>,
  disks: DomainStage['disks'],
): Promise<Conformity> {
  const world = makeWorld('7.2', disks);
  const known = disks.map(({ id, name, format }) => {
    return { target: id, images: [{ path: join(SOURCE, name), format, node: `node-${id}` }] };
  });
  const libvirtd = new SimLibvirtd(world, DOMAIN.uuid, known);
  world.libvirtd = libvirtd;
  const manager = world.newManager();
  const clock = simClock(world, manager);
  const reach = simReach(world, libvirtd, manager);
  const play = async (): Promise<readonly string[]> => {
    return await script({
      vm: await LibvirtVm.over(reach, clock),
      dom: reach.dom,
      host: simHost(world, manager),
      clock,
      source: SOURCE,
      target: TARGET,
      size: DISK_BYTES,
      disks,
      connect: () => reach.connect(),
      write: write(world),
      async restart(act) {
        const before = act && libvirtd.written;
        await act?.();
        libvirtd.kill(before);
        while (!libvirtd.up) await clock.sleep(10);
      },
    });
  };
  return await played(world, play());
}
