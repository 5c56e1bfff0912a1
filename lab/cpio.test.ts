import { expect, test } from 'vitest';
import { cpio } from './cpio.ts';

/** Reads an archive back as the kernel does: fixed header, name, contents, each padded to 4 bytes. */
function list(archive: Buffer): { name: string; mode: string; contents: string }[] {
  const found = [];
  for (let at = 0; ; ) {
    expect(archive.toString('latin1', at, at + 6)).toBe('070701');
    const field = (index: number): number =>
      Number.parseInt(archive.toString('latin1', at + 6 + index * 8, at + 14 + index * 8), 16);
    const [mode, size, nameSize] = [field(1), field(6), field(11)];
    const name = archive.toString('utf8', at + 110, at + 110 + nameSize - 1);
    const start = Math.ceil((at + 110 + nameSize) / 4) * 4;
    if (name === 'TRAILER!!!') return found;
    found.push({ name, mode: mode.toString(8), contents: archive.toString('utf8', start, start + size) });
    at = Math.ceil((start + size) / 4) * 4;
  }
}

test('an archive can be read back, whatever the lengths of names and contents', () => {
  const files = ['', '1', '12', '123', '1234'].map((contents, index) => ({
    path: `${'n'.repeat(index)}é`,
    type: 'file' as const,
    mode: 0o755,
    contents: Buffer.from(contents),
  }));
  const archive = cpio([{ path: 'dev', type: 'folder' }, ...files, { path: 'sh', type: 'link', target: 'busybox' }]);
  expect(list(archive)).toEqual([
    { name: 'dev', mode: '40755', contents: '' },
    ...files.map((file) => ({ name: file.path, mode: '100755', contents: file.contents.toString() })),
    { name: 'sh', mode: '120777', contents: 'busybox' },
  ]);
});
