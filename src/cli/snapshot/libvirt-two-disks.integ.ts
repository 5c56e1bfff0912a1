/**
 * A guest of libvirt that writes to two disks: a mirrored snapshot of both takes it to another folder, and `migrate` back. With the
 * libvirt that is installed and, where it can be had, with backports' 11.3 and its QEMU 10.0.
 */
import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { loadedVm } from '../../../lab/engine.ts';
import { Lab, LabDomain, type LabDisk, LabLibvirtd, qemuBuilds } from '../../../lab/index.ts';
import { run } from '../../base/index.ts';
import { LibvirtClient } from '../../libvirt/index.ts';
import { Blockferry, type Ended } from '../testing/blockferry.ts';

const MiB = 2 ** 20;
/** Not root, so that what libvirt gives to its QEMU can be told from what it does not. */
const QEMU_USER = 65_534;
const { builds, missing } = await qemuBuilds();
/** What each build of QEMU comes with; libvirt counts 11.3 as 11 003 000. */
const LIBVIRT: Readonly<Record<string, bigint>> = { backports: 11_000_000n };

for (const { label, reason } of missing) console.warn(`not tested on libvirt of ${label}: ${reason}`);

describe.each(builds.map((build) => ({ build, persistent: build.label !== 'installed' })))(
  'libvirt of $build.label, persistent: $persistent',
  ({ build, persistent }) => {
    test('a mirrored snapshot of two disks there, and a migration back: nothing is lost, libvirt knows', async () => {
      await using lab = await Lab.open({ name: `two disks ${build.label}`, build });
      const daemon = await LabLibvirtd.start(lab, { user: `+${QEMU_USER}` });
      await using client = await LibvirtClient.connect(daemon.uri());
      const { lib_ver: version } = await client.call('CONNECT_GET_LIB_VERSION');
      expect(version).toBeGreaterThanOrEqual(LIBVIRT[build.label] ?? 0n);
      const loaded = await loadedVm(lab, {
        name: 'VM3',
        disks: async (source) => {
          const disks: LabDisk[] = [];
          for (const [n, format] of (['qcow2', 'raw'] as const).entries()) {
            const path = join(source, `disk${n}.${format}`);
            await lab.image({ path, format, size: 32 * MiB, fill: { bytes: 8 * MiB, seed: n + 1 } });
            disks.push({ id: `vd${'ab'[n]}`, path, format });
          }
          return disks;
        },
        writers: (disks) =>
          disks.map(({ id }, n) => ({
            disk: id,
            seed: n + 1,
            rate: 200,
            region: { offset: 4 * MiB, length: 16 * MiB },
          })),
        start: async (name, disks) => {
          const domain = await LabDomain.start(lab, daemon, { name, disks, persistent });
          await domain.vm.booted();
          return domain.vm;
        },
      });
      const { source, target, stateDir, writers } = loaded;
      const blockferry = async (...args: readonly string[]): Promise<Ended> => {
        const ended = await Blockferry.run(...args, '--state-dir', stateDir, '--connect', daemon.uri());
        expect(ended, ended.stderr).toMatchObject({ status: 0 });
        return ended;
      };
      const virsh = async (...args: readonly string[]): Promise<string> =>
        (await run('virsh', ['-q', '-c', daemon.uri(), ...args])).stdout;
      const files = async (...options: readonly string[]): Promise<string[]> =>
        (await virsh('domblklist', 'VM3', ...options))
          .trim()
          .split(/\s+/)
          .filter((word) => word.startsWith('/'));
      const now = async (): Promise<string[][]> =>
        await Promise.all([files(), ...(persistent ? [files('--inactive')] : [])]);
      const everywhere = (paths: readonly string[]): string[][] =>
        Array.from({ length: persistent ? 2 : 1 }, () => [...paths]);

      const [first, second] = [join(target, 'first.qcow2'), join(target, 'second.qcow2')];
      const specs = ['--diskspec', `vda,mirror=${first}`, '--diskspec', `vdb,mirror=${second}`];
      await blockferry('snapshot-create-as', 'VM3', 'both', '--disk-only', ...specs);
      const xml = (await blockferry('snapshot-dumpxml', 'VM3', 'both')).stdout;
      expect([...xml.matchAll(/<mirror .*file='([^']*)'/g)].map((match) => match[1])).toEqual([first, second]);
      await run('cp', [join(source, 'disk0.qcow2'), join(source, 'disk1.raw'), target]);
      await Promise.all(writers.map((writer) => writer.advanced(20)));
      const pivot = await blockferry('snapshot-delete', 'VM3', 'both', '--mirror-pivot');
      expect(pivot.stderr).toMatch(/guest I\/O held \d+\.\d ms \(pivot\)/);
      expect(await now()).toEqual(everywhere([first, second]));

      await run('rm', [join(source, 'disk0.qcow2'), join(source, 'disk1.raw')]);
      await Promise.all(writers.map((writer) => writer.advanced(20)));
      const { stdout } = await blockferry('migrate', 'VM3', '--to', source, '--yes');
      expect(stdout).toContain('disk1.raw');
      const moved = [join(source, 'first.qcow2'), join(source, 'second.qcow2')];
      expect(await now()).toEqual(everywhere(moved));
      expect(await readdir(target)).toEqual([]);
      expect((await readdir(source)).toSorted()).toEqual(['disk0.qcow2', 'disk1.raw', 'first.qcow2', 'second.qcow2']);
      await Promise.all(writers.map((writer) => writer.advanced(20)));
      const checks = await loaded.check(({ id }) => moved[id === 'vda' ? 0 : 1] ?? '');
      expect(checks.map(({ lostCount, damagedCount }) => [lostCount, damagedCount])).toEqual([
        [0, 0],
        [0, 0],
      ]);
      expect(await loaded.vm.ioErrors()).toEqual([]);
      expect((await virsh('snapshot-list', 'VM3', '--name')).trim()).toBe('');
      await virsh('destroy', 'VM3');
      if (!persistent) return;
      await virsh('start', 'VM3');
      expect(await files()).toEqual(moved);
      await virsh('destroy', 'VM3');
    });
  },
);
