import { expect, test } from 'vitest';
import { copyTargetXml, diskOf, filesOf, parseDomain, snapshotXml } from './domain-xml.ts';
import { formatJobName, parseJobName } from './job-name.ts';

/** As libvirt 9.0.0 describes a running domain in the middle of a migration; what is not read is left out. */
const XML = `<domain type='qemu' id='3'>
  <name>web</name>
  <uuid>2bb83a04-4b1f-4624-b3b4-8402779aacaa</uuid>
  <devices>
    <disk type='file' device='disk'>
      <driver name='qemu' type='qcow2' cache='none' io='native' discard='unmap' detect_zeroes='on'/>
      <source file='/old/it&apos;s an overlay' index='4'/>
      <backingStore type='file' index='1'>
        <format type='qcow2'/>
        <source file='/old/a.qcow2'/>
        <backingStore type='file' index='2'>
          <format type='raw'/>
          <source file='/old/base.raw'/>
          <backingStore/>
        </backingStore>
      </backingStore>
      <mirror type='file' file='/new/overlay' format='qcow2' job='copy' ready='yes'>
        <format type='qcow2'/>
        <source file='/new/overlay' index='5'/>
        <backingStore type='file' index='6'>
          <format type='raw'/>
          <source file='/new/base.raw'/>
          <backingStore/>
        </backingStore>
      </mirror>
      <target dev='vda' bus='virtio'/>
      <alias name='virtio-disk0'/>
    </disk>
    <disk type='network' device='disk'>
      <driver name='qemu' type='raw' iothread='1'/>
      <source protocol='rbd' name='pool/image'><host name='mon'/></source>
      <target dev='vdb' bus='virtio'/>
      <shareable/>
      <transient/>
    </disk>
    <disk type='file' device='cdrom'>
      <target dev='hda' bus='ide'/>
      <readonly/>
    </disk>
  </devices>
</domain>`;

test('the disks of a domain: chain, mirror, options', () => {
  const domain = parseDomain(XML);
  expect([domain.name, domain.uuid]).toEqual(['web', '2bb83a04-4b1f-4624-b3b4-8402779aacaa']);
  expect(diskOf(domain, 'vda')).toEqual({
    target: 'vda',
    bus: 'virtio',
    device: 'disk',
    alias: 'virtio-disk0',
    readOnly: false,
    shareable: false,
    transient: false,
    driver: { cache: 'none', io: 'native', discard: 'unmap', zeroes: 'on' },
    images: [
      { type: 'file', path: "/old/it's an overlay", filename: "/old/it's an overlay", format: 'qcow2' },
      { type: 'file', path: '/old/a.qcow2', filename: '/old/a.qcow2', format: 'qcow2' },
      { type: 'file', path: '/old/base.raw', filename: '/old/base.raw', format: 'raw' },
    ],
    mirror: {
      job: 'copy',
      ready: true,
      path: '/new/overlay',
      below: [{ type: 'file', path: '/new/base.raw', filename: '/new/base.raw', format: 'raw' }],
    },
  });
  expect(diskOf(domain, 'vdb')).toMatchObject({
    shareable: true,
    transient: true,
    driver: { threaded: true },
    images: [{ type: 'network', filename: 'rbd:pool/image', format: 'raw' }],
  });
  expect(diskOf(domain, 'hda')).toMatchObject({ device: 'cdrom', readOnly: true, images: [] });
  expect(filesOf(domain)).toContain('/new/overlay');
});

test('a snapshot names every disk, and escapes what it names', () => {
  const xml = snapshotXml([{ disk: 'vda', path: `/a/<'&">` }], parseDomain(XML).disks);
  expect(xml).toContain(`<source file='/a/&lt;&apos;&amp;&quot;&gt;'/>`);
  expect(xml.match(/snapshot='no'/g)).toHaveLength(2);
  expect(copyTargetXml("/b'")).toContain(`<source file='/b&apos;'/>`);
});

test('a job is named by what it does, whatever the files are called', () => {
  const name = { kind: 'copy', disk: 'vda', from: '/a b/-> é', to: '/c%20d' } as const;
  expect(parseJobName(formatJobName(name))).toEqual(name);
  expect(formatJobName({ kind: 'commit', disk: 'vdb', from: '/x', to: '/y' })).toBe('commit vdb /x -> /y');
  expect(parseJobName('bf-abc-mirror0')).toBeUndefined();
});
