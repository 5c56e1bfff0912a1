import { expect, test } from 'vitest';
import { redirectDisks } from './definition.ts';

/** What libvirt 9.0.0 has after a snapshot of a persistent VM's disk. */
const disk = (source: string, chain: string, format = 'qcow2'): string => `<domain type='qemu'>
  <devices>
    <disk type='file' device='disk'>
      <driver name='qemu' type='${format}' discard='unmap'/>
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

test.each(['qcow2', 'raw'] as const)('the overlay gives way to the %s image that it was merged into', (format) => {
  const images = new Map([['/a.overlay', { path: '/a&b', format }]]);
  expect(redirectDisks(disk('/a.overlay', CHAIN), images)).toBe(disk('/a&amp;b', '', format));
});

test('what names the right file already, or another one, stays as it is', () => {
  const image = { path: '/a&b', format: 'raw' } as const;
  const images = new Map([
    ['/a.overlay', image],
    ['/a&b', image],
  ]);
  for (const xml of [disk('/a&amp;b', CHAIN), disk('/other', CHAIN)]) expect(redirectDisks(xml, images)).toBe(xml);
});
