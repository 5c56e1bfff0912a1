import { expect, test } from 'vitest';
import { wrongImages } from './wrong-images.ts';

const domain = (format: string, file: string, below: string): string => `<domain><devices>
  <disk type='file' device='disk'>
    <driver name='qemu' type='${format}'/>
    <source file='${file}'/>
    <backingStore type='file'><format type='qcow2'/><source file='${below}'/></backingStore>
    <target dev='vda' bus='virtio'/>
  </disk>
</devices></domain>`;
const images = [{ path: '/to/a.raw', format: 'raw' }];

test.each([
  ['raw', '/to/a.raw', '/to/base', []],
  ['raw', '/from/a.raw', '/from/base', ['has /from/a.raw (raw) and not', 'has /from/base below']],
  ['qcow2', '/to/a.raw', '/to/base', ['has /to/a.raw (qcow2) and not /to/a.raw (raw)']],
  ['raw', '/to/a.raw', '/from/base', ['has /from/base below /to/a.raw']],
])('%s %s on %s', (format, file, below, found) => {
  const said = wrongImages('it', domain(format, file, below), images);
  expect(said.map((words) => found.find((part) => words.includes(part)))).toEqual(found);
});

test('a disk that is not there', () => {
  const [said] = wrongImages('it', '<domain><devices/></domain>', images);
  expect(said).toContain('not /to/a.raw (raw)');
});
