import { describe, expect, test } from 'vitest';
import { parseDomainDocument, parseSnapshot } from '../parse/snapshot.ts';
import { type AlignOptions, alignDisks } from './align.ts';
import { summarizeDomain } from './domain-disk.ts';
import { generatedName } from './generated-name.ts';

function domain(disks: string): ReturnType<typeof parseDomainDocument> {
  return parseDomainDocument(
    `<domain type='kvm'><name>v</name><os><type>hvm</type></os><devices>${disks}</devices></domain>`,
  );
}

const TWO = domain(
  "<disk type='file'><source file='/a.qcow2'/><target dev='vda'/></disk><disk type='file' device='cdrom'><target dev='sda'/></disk>",
);

function align(disks: string, options: Partial<AlignOptions> = {}): string {
  const { snapshot } = parseSnapshot(`<domainsnapshot><name>s1</name><disks>${disks}</disks></domainsnapshot>`, {
    flags: ['MIRROR'],
  });
  const aligned = alignDisks(
    { ...snapshot, domain: TWO },
    {
      defaultLocation: 'external',
      uniformInternal: true,
      files: { isRegularFile: (path) => path === '/a.qcow2' },
      ...options,
    },
  );
  return aligned.disks
    .map(
      (disk) =>
        `${disk.name}:${disk.location}${'path' in disk.source ? `=${disk.source.path}` : ''}${disk.mirror ? '+mirror' : ''}`,
    )
    .join(' ');
}

describe('align', () => {
  test('fills in disks, locations and names, and leaves the mirror alone', () => {
    expect(align("<disk name='/a.qcow2'><mirror file='/t/m'/></disk>")).toBe('vda:external=/a.s1+mirror sda:no');
    expect(align('', { defaultLocation: 'internal' })).toBe('vda:internal sda:no');
  });

  test('a mirror does not go with a uniform internal snapshot', () => {
    expect(() => align("<disk name='vda'><mirror file='/m'/></disk>", { defaultLocation: 'internal' })).toThrow(
      "unsupported configuration: disk 'vda' must use snapshot mode 'internal'",
    );
  });

  test('refusals', () => {
    expect(() => align("<disk name='vdz'/>")).toThrow("no disk named 'vdz'");
    expect(() => align("<disk name='vda'/><disk name='/a.qcow2'/>")).toThrow("disk '/a.qcow2' specified twice");
    expect(() => align("<disk name='vda'/>".repeat(3))).toThrow('too many disk snapshot requests for domain');
    expect(() => align("<disk name='vda' snapshot='no'><source file='/x'/></disk>")).toThrow(
      "file '/x' for disk 'vda' requires use of external snapshot mode",
    );
    expect(() => align('', { files: { isRegularFile: () => false } })).toThrow(
      "source for disk 'vda' is not a regular file",
    );
    expect(() => alignDisks({ disks: [] }, { defaultLocation: 'no', files: { isRegularFile: () => true } })).toThrow(
      'internal error: missing domain in snapshot',
    );
  });
});

describe('generated names', () => {
  test.each([
    ['/i/a.qcow2', '/i/a.s'],
    ['/i/a', '/i/a.s'],
    ['/i.d/a', '/i.d/a.s'],
    ['/i/.hidden', '/i/.s'],
    ['/i/a.', '/i/a.s'],
    ['/i/a.b.c', '/i/a.b.s'],
  ])('%s gives %s', (path, expected) => {
    expect(generatedName(path, 's')).toBe(expected);
  });
});

describe('domain disks', () => {
  test('are ordered as libvirt orders them: those of one bus by target', () => {
    const disks = domain(
      "<disk><target dev='vdc' bus='virtio'/></disk><disk><target dev='sda' bus='scsi'/></disk><disk><target dev='vdaa' bus='virtio'/></disk><disk><target dev='vdb' bus='virtio'/></disk>",
    );
    expect(summarizeDomain(disks).disks.map((disk) => disk.target)).toEqual(['vdb', 'vdc', 'vdaa', 'sda']);
  });

  test('have the path without the pool, and no for what is read-only', () => {
    const [first, second] = summarizeDomain(
      domain(
        "<disk type='network'><driver type='raw'/><source protocol='rbd' name='pool/i/j'/><target dev='vda'/><readonly/></disk><disk type='vhostuser'><target dev='vdb'/></disk>",
      ),
    ).disks;
    expect(first).toMatchObject({ path: 'i/j', protocol: 'rbd', format: 'raw', readOnly: true, snapshot: 'no' });
    expect(second).toMatchObject({ type: 'vhostuser', snapshot: 'no' });
  });
});
