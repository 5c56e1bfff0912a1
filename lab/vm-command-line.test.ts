import { describe, expect, test } from 'vitest';
import { type CommandLineOptions, escapeValue, type LabDisk, vmArguments } from './vm-command-line.ts';

const plain: CommandLineOptions = {
  name: 'vm',
  style: 'blockdev',
  disks: [],
  backing: new Map(),
  memory: 64,
  accelerator: 'tcg',
  monitors: [],
  extraArgs: [],
};

function blockdevs(disk: LabDisk, below: { path: string; format: string }[] = []): unknown[] {
  const args = vmArguments({ ...plain, disks: [disk], backing: new Map([[disk.id, below]]) });
  return args.flatMap((arg, index) => (args[index - 1] === '-blockdev' ? [JSON.parse(arg) as unknown] : []));
}

test('a comma in a value is doubled', () => {
  expect(escapeValue('a,b,,c')).toBe('a,,b,,,,c');
  expect(vmArguments({ ...plain, name: 'a,b' })).toContain('guest=a,,b');
});

describe('the nodes of a disk', () => {
  test('one node with its file inline', () => {
    expect(blockdevs({ id: 'a', path: '/s/a=1, "x"', format: 'qcow2', discard: 'unmap' })).toEqual([
      {
        driver: 'qcow2',
        'node-name': 'node-a',
        'read-only': false,
        discard: 'unmap',
        file: { driver: 'file', filename: '/s/a=1, "x"', 'read-only': false, discard: 'unmap' },
      },
    ]);
  });

  test('an explicit chain: the base first, each node on the one below, the last one on nothing', () => {
    const below = [
      { path: '/s/b', format: 'qcow2' },
      { path: '/s/c', format: 'qcow2' },
    ];
    const nodes = blockdevs({ id: 'a', path: '/s/a', format: 'qcow2', explicitChain: true }, below);
    expect(nodes).toMatchObject([
      { 'node-name': 'base-a-2', 'read-only': true, backing: null, file: { filename: '/s/c' } },
      { 'node-name': 'base-a-1', 'read-only': true, backing: 'base-a-2', file: { filename: '/s/b' } },
      { 'node-name': 'node-a', 'read-only': false, backing: 'base-a-1', file: { filename: '/s/a' } },
    ]);
  });

  test('a raw base has no backing, and separate file nodes come before what is on them', () => {
    const disk: LabDisk = { id: 'a', path: '/s/a', format: 'qcow2', explicitChain: true, separateFileNode: true };
    const nodes = blockdevs(disk, [{ path: '/s/b', format: 'raw' }]);
    expect(nodes).toEqual([
      { driver: 'file', filename: '/s/b', 'node-name': 'file-a-1', 'read-only': true },
      { driver: 'raw', 'node-name': 'base-a-1', 'read-only': true, file: 'file-a-1' },
      { driver: 'file', filename: '/s/a', 'node-name': 'file-a', 'read-only': false },
      { driver: 'qcow2', 'node-name': 'node-a', 'read-only': false, file: 'file-a', backing: 'base-a-1' },
    ]);
  });
});

test('style drive: options of one -drive, and a device that names it', () => {
  const disk: LabDisk = { id: 'a', path: '/s/a,b', format: 'raw', readOnly: true, iothread: 'io1' };
  const args = vmArguments({ ...plain, style: 'drive', disks: [disk, { id: 'cd', cdrom: true }] });
  expect(args).toContain('file=/s/a,,b,format=raw,if=none,id=drive-a,readonly=on');
  expect(args).toContain('virtio-blk-pci,id=a,drive=drive-a,serial=a,iothread=io1');
  expect(args.filter((arg) => arg === 'iothread,id=io1')).toHaveLength(1);
  expect(args).toContain('ide-cd,id=cd');
});

test('past the page cache, in both styles', () => {
  const disk: LabDisk = { id: 'a', path: '/s/a', format: 'raw', cache: 'none' };
  expect(blockdevs(disk)).toMatchObject([{ cache: { direct: true }, file: { cache: { direct: true } } }]);
  const args = vmArguments({ ...plain, style: 'drive', disks: [disk] });
  expect(args).toContain('file=/s/a,format=raw,if=none,id=drive-a,cache=none');
});

test.each([
  { what: 'is to be saved is a shared file', saved: false, map: 'share=on' },
  { what: 'was saved is a private map of it', saved: true, map: 'share=off' },
])('the memory of a guest that $what', ({ saved, map }) => {
  const args = vmArguments({ ...plain, memoryFile: { path: '/c/m', saved } });
  expect(args).toContain(`memory-backend-file,id=ram,size=64M,mem-path=/c/m,${map}`);
  expect(args).toContain('pc,memory-backend=ram');
  expect(args.includes('-incoming')).toBe(saved);
});
