import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { run, systemClock } from '../../src/base/index.ts';
import { LibvirtClient } from '../../src/libvirt/index.ts';
import { realHost } from '../../src/migration/real-host.ts';
import { openChain } from '../chain-reader.ts';
import { Lab, LabDomain, LabLibvirtd } from '../index.ts';
import { domainScript, type DomainStage, forgetfulScript } from './domain-script.ts';
import { BLOCKS } from './guest.ts';
import { type Conformity, DOMAIN_DISKS, simulatedDomain } from './sim-stage.ts';

const MiB = 2 ** 20;

let lab: Lab;
let daemon: LabLibvirtd;
beforeAll(async () => {
  lab = await Lab.open({ name: 'domain-conformity' });
  daemon = await LabLibvirtd.start(lab);
});
afterAll(async () => await lab[Symbol.asyncDispose]());

/** The script on a VM of a real libvirtd, whose guest does nothing; what it would write is written by QEMU itself. */
async function real(
  name: string,
  script: (stage: DomainStage) => Promise<readonly string[]>,
  disks: DomainStage['disks'],
): Promise<Conformity> {
  const [source, target] = [await lab.storage(`${name}-source`), await lab.storage(`${name}-target`)];
  const pathOf = ({ name: file }: DomainStage['disks'][number]): string => join(source, file);
  for (const disk of disks) await lab.image({ path: pathOf(disk), format: disk.format, size: BLOCKS * MiB });
  const images = disks.map((disk) => ({ id: disk.id, path: pathOf(disk), format: disk.format }));
  const domain = await LabDomain.start(lab, daemon, { name, disks: images });
  await using vm = await domain.connect();
  const connect = (): Promise<LibvirtClient> => LibvirtClient.connect(daemon.uri());
  await using client = await connect();
  const { dom } = await client.call('DOMAIN_LOOKUP_BY_NAME', { name });
  const lines = await script({
    vm,
    dom,
    host: realHost,
    clock: systemClock,
    source,
    target,
    size: BLOCKS * MiB,
    disks,
    connect,
    async write(disk, block, value) {
      const device = `/machine/peripheral/virtio-disk${disks.findIndex(({ id }) => id === disk)}/virtio-backend`;
      const line = `qemu-io -d ${device} "write -P ${value} ${block}M 64k"`;
      const { stdout } = await run('virsh', ['-q', '-c', daemon.uri(), 'qemu-monitor-command', name, '--hmp', line]);
      if (stdout.trim() !== '') throw new Error(stdout);
    },
    async restart(act) {
      if (act) return await daemon.killForgetting(name, act);
      await daemon.kill();
      await daemon.untilReady();
    },
  });
  await domain.vm.kill();
  await using chain = await openChain(join(target, 'a.raw'), 'raw');
  const blocks = await Promise.all(Array.from({ length: BLOCKS }, (_, n) => chain.read(n * MiB, 1)));
  return { lines, blocks: blocks.map((bytes) => bytes[0] ?? -1) };
}

describe('the simulated libvirtd does what the real one does', () => {
  test('with all that a migration asks of it, and when it is killed', async () => {
    const disks = DOMAIN_DISKS.slice(0, 2);
    const simulated = await simulatedDomain(domainScript, disks);
    expect(await real('conforms', domainScript, disks)).toEqual(simulated);
    expect(simulated.blocks).toEqual([5, 7, 8, 4]);
  });

  test('when it is killed before it has written down what it did', async () => {
    const simulated = await simulatedDomain(forgetfulScript, DOMAIN_DISKS);
    expect(await real('forgets', forgetfulScript, DOMAIN_DISKS)).toEqual(simulated);
  });
});
