import { describe, expect, test } from 'vitest';
import { createAsXml, pathOf } from '../../domainsnapshot/index.ts';
import type { Disk } from '../../vm/index.ts';
import { alignDiskOnly, overlayFiles } from './disk-request.ts';
import { describeDomain } from './domain-description.ts';
import { parseMirrored } from './mirror-request.ts';
import { inventoryOf } from './testing/inventory-of.ts';

interface Shape {
  readonly path?: string;
  readonly filename?: string;
  readonly removable?: boolean;
  readonly readOnly?: boolean;
}

function disk(id: string, { path, filename = path, removable = false, readOnly = false }: Shape): Disk {
  const image = { node: `n-${id}`, fileNode: `f-${id}`, format: 'raw', protocol: 'file', readOnly };
  return {
    id,
    names: [id],
    deviceType: removable ? 'floppy' : 'virtio-blk-device',
    rootNode: `n-${id}`,
    filters: [],
    images: filename === undefined ? [] : [{ ...image, ...(path !== undefined && { path }), filename }],
    size: 4096,
    readOnly,
    removable,
    shareable: false,
    settings: { direct: false, detectZeroes: 'off', discard: 'unmap' },
    bitmaps: [],
    writtenBytes: 0,
  };
}

/** This file is there, and a regular one: a name is made only beside such. */
const HERE = import.meta.filename;
const VDA = disk('vda', { path: HERE });

function align(disks: readonly Disk[], ...diskspecs: readonly string[]): readonly (readonly unknown[])[] {
  const description = describeDomain(inventoryOf('web', disks));
  const aligned = alignDiskOnly(parseMirrored(createAsXml({ name: 's1', diskspecs }), ['DISK_ONLY']), description);
  expect(aligned).toMatchObject({ state: 'disk-snapshot', memory: { location: 'no' } });
  const files = overlayFiles(aligned, description).map(({ disk, source }) => [disk, source]);
  const external = aligned.disks.filter(({ location }) => location === 'external');
  expect(external.map(({ source, format }) => [pathOf(source), format])).toEqual(
    files.map(([, path]) => [path, 'qcow2']),
  );
  return files;
}

describe('which disks take part in a snapshot without mirrors', () => {
  const generated = HERE.replace(/\.ts$/, '.s1');

  test('all that the guest can write to, with names as libvirt makes them', () => {
    const others = [disk('cd0', { path: '/cd.iso', readOnly: true }), disk('fd0', { removable: true })];
    expect(align([VDA, ...others])).toEqual([['vda', generated]]);
    expect(align([VDA], 'vda,file=/new')).toEqual([['vda', '/new']]);
    expect(align([VDA, disk('data', { path: '/d.raw' })], 'data,file=/e', 'vda,snapshot=external')).toEqual([
      ['vda', generated],
      ['data', '/e'],
    ]);
  });

  test('one that says no does not', () => {
    expect(align([VDA, disk('vdb', { path: '/b' })], 'vdb,snapshot=no')).toEqual([['vda', generated]]);
    const exported = disk('vdb', { filename: 'nbd://h/e' });
    expect(align([VDA, exported], 'vdb,snapshot=no')).toEqual([['vda', generated]]);
    expect(() => align([VDA, exported])).toThrow("disk 'vdb' is not in a file (nbd://h/e); leave it out");
  });

  test.each<[string, readonly Disk[], readonly string[]]>([
    ['nothing selected for snapshot', [VDA], ['vda,snapshot=no']],
    ["no disk named 'vdz'", [VDA, VDA], ['vdz']],
    ["disk 'vda' specified twice", [VDA, disk('b', { path: '/b' })], ['vda', 'vda']],
    [
      'active qemu domains require external disk snapshots; disk vda requested internal',
      [VDA],
      ['vda,snapshot=internal'],
    ],
    ['external snapshot format for disk vda is unsupported: qed', [VDA], ['vda,driver=qed,file=/x']],
    ["disk 'vda': only files are made over QMP", [VDA], ['vda,stype=block,file=/dev/x']],
    [
      "disk 'fda' takes no part (it is a removable medium",
      [disk('fda', { path: HERE, removable: true })],
      ['fda,file=/x'],
    ],
    ['is not a regular file; refusing to generate external snapshot name', [disk('vda', { path: '/dev/null' })], []],
  ])('refused: %s', (message, disks, diskspecs) => {
    expect(() => align(disks, ...diskspecs)).toThrow(message);
  });
});
