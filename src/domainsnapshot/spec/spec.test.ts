import { describe, expect, test } from 'vitest';
import { parseSnapshot } from '../parse/snapshot.ts';
import { createAsXml } from './create-as.ts';
import { parseDiskSpec } from './disk-spec.ts';
import { parseMemSpec } from './mem-spec.ts';

describe('diskspec', () => {
  test.each([
    ['vda', { name: 'vda' }],
    ['vda,file=/a,,b,mirror=/m', { name: 'vda', file: '/a,b', mirror: '/m' }],
    [
      'vda,stype=block,driver=qcow2,snapshot=external',
      { name: 'vda', stype: 'block', driver: 'qcow2', snapshot: 'external' },
    ],
    ['vda,file=', { name: 'vda', file: '' }],
  ])('%s', (text, expected) => {
    expect(parseDiskSpec(text)).toEqual(expected);
  });

  test.each(['', 'vda,', 'vda,/a', 'vda,file=/a,file=/b', 'vda,size=1'])("'%s' is refused", (text) => {
    expect(() => parseDiskSpec(text)).toThrow(`unable to parse diskspec: ${text}`);
  });

  test('only files and block devices', () => {
    expect(() => parseDiskSpec('vda,stype=network')).toThrow("Unknown storage type: 'network'");
  });
});

describe('memspec', () => {
  test('a path is a file', () => {
    expect(parseMemSpec('/m,,1,snapshot=external')).toEqual({ file: '/m,1', snapshot: 'external' });
  });

  test.each(['', 'm', '/a,/b', 'file=/a,'])("'%s' is refused", (text) => {
    expect(() => parseMemSpec(text)).toThrow(`unable to parse memspec: ${text}`);
  });
});

describe('snapshot-create-as', () => {
  test('escapes every value, and puts the mirror after the source', () => {
    const xml = createAsXml({
      name: "a'b",
      description: '<d>',
      memspec: '/m',
      diskspecs: ["vda,driver=q'2,snapshot=external,file=/a&b,mirror=/m'2"],
    });
    expect(xml).toBe(`<domainsnapshot>
  <name>a&apos;b</name>
  <description>&lt;d&gt;</description>
  <memory file='/m'/>
  <disks>
    <disk name='vda' snapshot='external'>
      <driver type='q&apos;2'/>
      <source file='/a&amp;b'/>
      <mirror file='/m&apos;2'/>
    </disk>
  </disks>
</domainsnapshot>
`);
  });

  test('gives what the parser reads', () => {
    const { snapshot } = parseSnapshot(createAsXml({ diskspecs: ['vda,stype=block,file=/dev/x,mirror=/m'] }), {
      flags: ['MIRROR'],
      now: 5n,
    });
    expect(snapshot).toEqual({
      name: '5',
      creationTime: 5n,
      disks: [
        {
          name: 'vda',
          location: 'external',
          source: { type: 'block', path: '/dev/x' },
          mirror: { target: { type: 'file', path: '/m' } },
        },
      ],
    });
  });
});
