import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { realHost } from '../../src/migration/real-host.ts';
import { QmpClient } from '../../src/qmp/index.ts';
import { QemuVm } from '../../src/vm/index.ts';
import { openChain } from '../chain-reader.ts';
import { Lab, type QemuBuild, qemuBuilds } from '../index.ts';
import { conformityScript } from './conformity-script.ts';
import { BLOCKS } from './guest.ts';
import { type Conformity, simulatedConformity, STAGE_DISKS } from './sim-stage.ts';

const MiB = 2 ** 20;

/** The script on a real VM that has no guest; what the guest would write is written by QEMU itself. */
async function realConformity(build: QemuBuild): Promise<Conformity> {
  await using lab = await Lab.open({ name: 'conformity', build });
  const [source, target] = [await lab.storage('source'), await lab.storage('target')];
  for (const { name, format } of STAGE_DISKS) {
    await lab.image({ path: join(source, name), format, size: BLOCKS * MiB });
  }
  const vm = await lab.startVm({
    name: 'conformity',
    boot: false,
    monitors: 2,
    disks: STAGE_DISKS.map(({ id, name, format }) => ({ id, path: join(source, name), format })),
  });
  await using qemu = await QemuVm.connect({ path: vm.qmpPath });
  await using beside = await QmpClient.connect({ path: vm.qmpPaths[1] ?? '' });
  const lines = await conformityScript({
    vm: qemu,
    host: realHost,
    source,
    target,
    size: BLOCKS * MiB,
    disks: STAGE_DISKS,
    qmp: (command, args) => beside.executeRaw(command, args),
    async write(disk, block, value) {
      const line = `qemu-io -d /machine/peripheral/${disk}/virtio-backend "write -P ${value} ${block}M 64k"`;
      const said = await beside.executeRaw('human-monitor-command', { 'command-line': line });
      if (said !== '') throw new Error(String(said));
    },
  });
  await vm.stop();
  await using chain = await openChain(join(target, 'a.raw'), 'raw', build);
  const blocks = await Promise.all(Array.from({ length: BLOCKS }, (_, n) => chain.read(n * MiB, 1)));
  return { lines, blocks: blocks.map((bytes) => bytes[0] ?? -1) };
}

const { builds, missing } = await qemuBuilds();

describe('the simulated QEMU does what the real one does', () => {
  test.each(builds.map((build) => [build.version, build] as const))('QEMU %s', async (version, build) => {
    const simulated = await simulatedConformity(version.startsWith('7') ? '7.2' : '10.0');
    expect(simulated).toEqual(await realConformity(build));
    expect(simulated.blocks).toEqual([5, 7, 8, 4]);
  });

  test('all builds of the matrix are there', () => expect(missing).toEqual([]));
});
