import { QemuVm } from '../../src/vm/index.ts';
import { conformityScript, type Stage } from './conformity-script.ts';
import { BLOCKS } from './guest.ts';
import { readChain, SimFiles, sync } from './sim-files.ts';
import { simClock } from './sim-clock.ts';
import { DISK_BYTES, simHost } from './sim-host.ts';
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

/** The script on a simulated VM. */
export async function simulatedConformity(build: keyof typeof BEHAVIOUR): Promise<Conformity> {
  const files = new SimFiles(
    new Map([
      ['/source', '1'],
      ['/target', '2'],
    ]),
  );
  for (const { name, format } of STAGE_DISKS) {
    sync(
      files.make(
        `/source/${name}`,
        format,
        Array.from({ length: BLOCKS }, () => 0),
      ),
    );
  }
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
  for (const { id, name } of STAGE_DISKS) world.qemu.plug(id, `/source/${name}`, [`node-${id}`]);
  const manager = world.newManager();
  const dial = dialler(world, manager);
  const play = async (): Promise<readonly string[]> => {
    const vm = await QemuVm.over(dial, simClock(world, manager));
    const { qmp } = await dial();
    return await conformityScript({
      vm,
      host: simHost(world, manager),
      source: '/source',
      target: '/target',
      size: DISK_BYTES,
      disks: STAGE_DISKS,
      qmp: (command, args) => qmp.executeRaw(command, args),
      write: (disk, block, value) => {
        world.qemu.finish({ disk, block, value });
        return Promise.resolve();
      },
    });
  };
  let lines: readonly string[] | undefined;
  let failure: unknown;
  void play().then(
    (played) => (lines = played),
    (error: unknown) => (failure = error),
  );
  await world.until(() => lines !== undefined || failure !== undefined);
  if (failure !== undefined) throw failure as Error;
  if (lines === undefined) throw new Error(world.breach ?? 'the script stands still');
  const chain = files.chain('/target/a.raw');
  return { lines, blocks: Array.from({ length: BLOCKS }, (_, block) => readChain(chain, block)) };
}
