import { expect, test } from 'vitest';
import { redirectFiles } from './definition.ts';

/** What libvirt 9.0.0 has after a snapshot of a persistent VM's disk. */
const disk = (source: string, chain: string): string => `<domain type='qemu'>
  <devices>
    <disk type='file' device='disk'>
      <driver name='qemu' type='qcow2'/>
      <source file='${source}'/>${chain}
      <target dev='vda' bus='virtio'/>
    </disk>
    <disk type='file' device='cdrom'>
      <source file='/iso'/>
      <target dev='hda' bus='ide'/>
    </disk>
  </devices>
</domain>`;

const CHAIN = `
      <backingStore type='file'>
        <format type='qcow2'/>
        <source file='/a&amp;b.qcow2'/>
        <backingStore/>
      </backingStore>`;

test('the overlay gives way to the image that it was merged into', () => {
  const files = new Map([['/a.overlay', '/a&b.qcow2']]);
  expect(redirectFiles(disk('/a.overlay', CHAIN), files)).toBe(disk('/a&amp;b.qcow2', ''));
});

test('what names the right file already, or another one, stays as it is', () => {
  const files = new Map([
    ['/a.overlay', '/a&b.qcow2'],
    ['/a&b.qcow2', '/a&b.qcow2'],
  ]);
  for (const xml of [disk('/a&amp;b.qcow2', CHAIN), disk('/other', CHAIN)]) expect(redirectFiles(xml, files)).toBe(xml);
});
