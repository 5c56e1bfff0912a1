import { describe, expect, test } from 'vitest';
import { summarizeDomain } from '../../domainsnapshot/index.ts';
import type { Disk, Inventory } from '../../vm/index.ts';
import { describeDomain, findNamedDisk } from './domain-description.ts';
import { inventoryOf } from './testing/inventory-of.ts';

function disk(id: string, deviceType: string, path?: string): Disk {
  const image = { node: `n-${id}`, fileNode: `f-${id}`, format: 'qcow2', protocol: 'file', readOnly: false };
  return {
    id,
    names: [id, `n-${id}`],
    deviceType,
    filters: [],
    images: path === undefined ? [] : [{ ...image, path, filename: path }],
    size: 1,
    readOnly: deviceType === 'ide-cd',
    removable: deviceType === 'ide-cd',
    shareable: false,
    settings: { direct: false, detectZeroes: 'off', discard: 'unmap' },
    bitmaps: [],
    writtenBytes: 0,
  };
}

const inventory = (...disks: readonly Disk[]): Inventory => inventoryOf('/run/a.qmp', disks);

describe('the description of a VM over QMP', () => {
  const { domain, disks } = describeDomain(
    inventory(
      disk('data', 'virtio-blk-device', '/data.qcow2'),
      disk('vda', 'virtio-blk-device', '/vda.qcow2'),
      disk('root', 'scsi-hd', '/root.qcow2'),
      disk('more', 'virtio-blk-device', '/more.qcow2'),
      disk('flash', 'cfi.pflash01', '/vars.fd'),
      disk('cd0', 'ide-cd'),
    ),
  );

  test('disks have names as libvirt gives them; an id that is one stays', () => {
    expect(disks.map(({ target, disk: { id } }) => [id, target])).toEqual([
      ['data', 'vdb'],
      ['vda', 'vda'],
      ['root', 'sda'],
      ['more', 'vdc'],
      ['cd0', 'hda'],
    ]);
  });

  test('says what snapshots need, in a form that libvirt’s rules can be used on', () => {
    const { name, uuid, type, disks: read } = summarizeDomain(domain);
    expect({ name, uuid, type }).toEqual({ name: '_run_a.qmp', uuid: undefined, type: 'qemu' });
    expect(read.map(({ target, path, format, snapshot }) => [target, path, format, snapshot])).toEqual([
      ['vda', '/vda.qcow2', 'qcow2', undefined],
      ['vdb', '/data.qcow2', 'qcow2', undefined],
      ['vdc', '/more.qcow2', 'qcow2', undefined],
      ['sda', '/root.qcow2', 'qcow2', undefined],
      ['hda', undefined, undefined, 'no'],
    ]);
  });

  test('a disk is found by its target, and by what QEMU calls it', () => {
    const found = ['vdb', 'data', 'n-root', 'nope'].map((name) => findNamedDisk(disks, name)?.disk.id);
    expect(found).toEqual(['data', 'data', 'root', undefined]);
  });
});
