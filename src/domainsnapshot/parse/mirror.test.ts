import { describe, expect, test } from 'vitest';
import { formatSnapshot } from '../format/snapshot.ts';
import { type ParseFlag, parseSnapshot } from './snapshot.ts';

/** What the disk with this inside comes out as, without the lines around it. */
function roundTrip(inner: string, flags: readonly ParseFlag[], attributes = "name='vda'"): string {
  const xml = `<domainsnapshot><name>s</name><state>running</state><creationTime>1</creationTime><disks><disk ${attributes}>${inner}</disk></disks></domainsnapshot>`;
  const text = formatSnapshot(parseSnapshot(xml, { flags, now: 0n }).snapshot);
  return text.slice(text.indexOf('    <disk '), text.indexOf('  </disks>')).replaceAll(/^ {4}/gm, '');
}

function mirrorOf(inner: string, flags: readonly ParseFlag[] = ['TYPED_MIRROR']): string {
  return roundTrip(inner, flags)
    .split('\n')
    .slice(1, -2)
    .map((line) => line.trim())
    .join('');
}

describe('the one-line form of 2012', () => {
  test('is refused unless asked for', () => {
    expect(() => roundTrip("<mirror file='/m'/>", [])).toThrow(
      "argument unsupported: unable to handle mirroring for 'vda'",
    );
  });

  test('makes an unset location external, and is printed even alone', () => {
    expect(roundTrip("<mirror file='/m'/>", ['MIRROR'])).toBe(
      "<disk name='vda' snapshot='external' type='file'>\n  <mirror file='/m'/>\n</disk>\n",
    );
  });

  test('comes after the source, escaped', () => {
    expect(roundTrip("<mirror file='/m&amp;&apos;'/><source file='/a'/><driver type='qed'/>", ['MIRROR'])).toBe(
      "<disk name='vda' snapshot='external' type='file'>\n  <driver type='qed'/>\n  <source file='/a'/>\n  <mirror file='/m&amp;&apos;'/>\n</disk>\n",
    );
  });

  test('other attributes count for nothing with MIRROR, and are understood with TYPED_MIRROR', () => {
    expect(mirrorOf("<mirror file='/m' format='qed' type='block'/>", ['MIRROR'])).toBe("<mirror file='/m'/>");
    expect(mirrorOf("<mirror file='/m' format='qed'/>")).toBe(
      "<mirror type='file' file='/m' format='qed'><format type='qed'/><source file='/m'/></mirror>",
    );
  });

  test('the path must be absolute', () => {
    expect(() => roundTrip("<mirror file='m'/>", ['MIRROR'])).toThrow(
      "XML error: disk snapshot image path 'm' must be absolute",
    );
    expect(() => roundTrip("<mirror file=''/>", ['MIRROR'])).toThrow("path '' must be absolute");
  });
});

describe('typed forms', () => {
  test('block and network', () => {
    const block = "<mirror type='block'><format type='qcow2'/><source dev='/dev/vg/m'/></mirror>";
    expect(mirrorOf(block)).toBe(block);
    const network =
      "<mirror type='network'><format type='qcow2'/><source protocol='nbd' name='e'><host name='h' port='10809'/></source></mirror>";
    expect(mirrorOf(network)).toBe(network);
  });

  test("a file in the disk's own format is written in one line", () => {
    const typed = "<driver type='qcow2'/><mirror type='file'><format type='qcow2'/><source file='/m'/></mirror>";
    expect(mirrorOf(typed)).toBe("<driver type='qcow2'/><mirror file='/m'/>");
  });

  test('with type the children count, not the attributes', () => {
    expect(mirrorOf("<mirror type='file' file='/x' format='qed'><source file='/m'/></mirror>")).toBe(
      "<mirror file='/m'/>",
    );
  });

  test('job and ready are read only when redefining', () => {
    const live = "<mirror type='block' job='copy' ready='yes'><source dev='/m'/></mirror>";
    expect(mirrorOf(live)).toBe("<mirror type='block'><source dev='/m'/></mirror>");
    expect(mirrorOf(live, ['TYPED_MIRROR', 'REDEFINE'])).toBe(live);
  });

  test.each<[inner: string, message: string]>([
    ['<mirror/>', "XML error: mirror for 'vda' requires file attribute"],
    ["<mirror type='dir'/>", "XML error: unknown storage source type 'dir'"],
    ["<mirror type='nvme'><source/></mirror>", "XML error: unknown storage source type 'nvme'"],
    ["<mirror type='file'/>", 'XML error: mirror requires source element'],
    [
      "<mirror type='file'><source file='/m'/><format type='x'/></mirror>",
      "XML error: unknown storage source format 'x'",
    ],
    ["<mirror type='file'><source file='m'/></mirror>", "path 'm' must be absolute"],
    ["<mirror type='block'><source/></mirror>", "path '' must be absolute"],
    ["<mirror file='/m' job='x'/>", "unsupported configuration: unknown mirror job type 'x'"],
    ["<mirror file='/m' job='active-commit'/>", 'mirror without type only supported by copy job'],
    ["<mirror file='/m' ready='no'/>", 'XML error: unknown mirror ready state no'],
  ])('%s is refused', (inner, message) => {
    expect(() => mirrorOf(inner, ['TYPED_MIRROR', 'REDEFINE'])).toThrow(message);
  });

  test('no location but external takes a mirror', () => {
    for (const location of ['no', 'internal', 'manual']) {
      expect(() => roundTrip("<mirror type='x'/>", ['TYPED_MIRROR'], `name='vda' snapshot='${location}'`)).toThrow(
        "XML error: mirror for 'vda' requires external snapshot",
      );
    }
  });
});

function disk2012(attributes: string): string {
  return `<domainsnapshot><name>s</name><disks><disk ${attributes}/></disks></domainsnapshot>`;
}

describe('the profile of 2012', () => {
  const options = { flags: ['REDEFINE', 'DISKS', 'MIRROR'], profile: 'seed-2012', now: 0n } as const;

  test('writes what it reads, in the layout of 2012', () => {
    const xml = `<domainsnapshot>
  <name>snap</name>
  <state>disk-snapshot</state>
  <creationTime>1272917631</creationTime>
  <disks>
    <disk name='hda' snapshot='external'>
      <driver type='anything'/>
      <source file='relative'/>
      <mirror file='also relative'/>
    </disk>
  </disks>
</domainsnapshot>
`;
    expect(formatSnapshot(parseSnapshot(xml, options).snapshot, { profile: 'seed-2012' })).toBe(xml);
  });

  test('loses a mirror alone, as the patch did', () => {
    const xml =
      "<domainsnapshot><name>s</name><disks><disk name='a'><mirror file='/m'/></disk></disks></domainsnapshot>";
    const { snapshot } = parseSnapshot(xml, { ...options, flags: ['DISKS', 'MIRROR'] });
    expect(formatSnapshot({ ...snapshot, state: 'disk-snapshot' }, { profile: 'seed-2012' })).toContain(
      "<disk name='a' snapshot='external'/>",
    );
  });

  test.each<[xml: string, flags: readonly ParseFlag[], message: string]>([
    [disk2012("name='a'"), [], 'argument unsupported: unable to handle disk requests in snapshot'],
    [disk2012("name='a' snapshot='manual'"), ['DISKS'], "internal error: unknown disk snapshot setting 'manual'"],
    ['<x/>', [], 'XML error: domainsnapshot'],
  ])('%s is refused', (xml, flags, message) => {
    expect(() => parseSnapshot(xml, { ...options, flags })).toThrow(message);
  });
});
