import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { deviceKey, startSettings } from './command-line.ts';

describe('what a command line says of discard and aio', () => {
  test('of a node with its file inline, in JSON and in options', () => {
    const json = { driver: 'qcow2', 'node-name': 'n', discard: 'unmap', file: { driver: 'file', aio: 'native' } };
    const options = 'driver=qcow2,node-name=m,discard=unmap,file.driver=file,file.aio=native,file.filename=a,,b';
    const settings = startSettings(['qemu', '-blockdev', JSON.stringify(json), '--blockdev', options]);
    expect(settings.get('n')).toEqual({ discard: 'unmap', aio: 'native' });
    expect(settings.get('m')).toEqual({ discard: 'unmap', aio: 'native' });
  });

  test('of a node whose file is a node of its own', () => {
    const settings = startSettings(
      [
        ['-blockdev', 'driver=file,node-name=f,filename=/a,aio=io_uring'],
        ['-blockdev', 'driver=raw,node-name=n,file=f'],
      ].flat(),
    );
    expect(settings.get('n')).toEqual({ discard: 'ignore', aio: 'io_uring' });
  });

  test('of a drive, by its id', () => {
    const settings = startSettings(['-drive', 'file=/a,if=virtio,id=d,discard=on,aio=threads']);
    expect(settings.get('d')).toEqual({ discard: 'unmap', aio: 'threads' });
  });

  test('of the device that was started on it, whatever takes the place of the node', () => {
    const settings = startSettings(
      [
        ['-blockdev', 'driver=raw,node-name=n,discard=unmap,file.driver=file,file.filename=/a'],
        ['-device', 'virtio-blk-pci,drive=n,id=vda'],
        ['-drive', 'if=none,id=d,file=/b,aio=native'],
        ['-device', JSON.stringify({ driver: 'scsi-hd', id: 'sda', drive: 'd' })],
        ['-device', 'virtio-net-pci,id=net'],
      ].flat(),
    );
    expect(settings.get(deviceKey('vda'))).toEqual({ discard: 'unmap' });
    expect(settings.get(deviceKey('sda'))).toEqual({ discard: 'ignore', aio: 'native' });
    expect(settings.has(deviceKey('net'))).toBe(false);
  });

  test('nothing of what is not understood, and no line makes it fail', () => {
    expect(startSettings(['-blockdev', '{not json', '-drive']).size).toBe(0);
    const words = fc.oneof(fc.constantFrom('-blockdev', '-drive', '-device', 'id=a', '{"a":null}', '{}'), fc.string());
    fc.assert(fc.property(fc.array(words), (argv) => void startSettings(argv)));
  });
});
