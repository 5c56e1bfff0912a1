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

  test('errors, in order', () => {
    const error = (inner: string, flags: readonly ParseFlag[] = ['TYPED_MIRROR']) =>
      expect(() => mirrorOf(inner, flags));
    error('<mirror/>').toThrow("XML error: mirror for 'vda' requires file attribute");
    error("<mirror type='dir'/>").toThrow("XML error: unknown storage source type 'dir'");
    error("<mirror type='nvme'><source/></mirror>").toThrow("XML error: unknown storage source type 'nvme'");
    error("<mirror type='file'/>").toThrow('XML error: mirror requires source element');
    error("<mirror type='file'><source file='/m'/><format type='x'/></mirror>").toThrow(
      "XML error: unknown storage source format 'x'",
    );
    error("<mirror type='file'><source file='m'/></mirror>").toThrow("path 'm' must be absolute");
    error("<mirror type='block'><source/></mirror>").toThrow("path '' must be absolute");
    const redefine = ['TYPED_MIRROR', 'REDEFINE'] as const;
    error("<mirror file='/m' job='x'/>", redefine).toThrow("unsupported configuration: unknown mirror job type 'x'");
    error("<mirror file='/m' job='active-commit'/>", redefine).toThrow(
      'mirror without type only supported by copy job',
    );
    error("<mirror file='/m' ready='no'/>", redefine).toThrow('XML error: unknown mirror ready state no');
  });

  test('no location but external takes a mirror', () => {
    for (const location of ['no', 'internal', 'manual']) {
      expect(() => roundTrip("<mirror type='x'/>", ['TYPED_MIRROR'], `name='vda' snapshot='${location}'`)).toThrow(
        "XML error: mirror for 'vda' requires external snapshot",
      );
    }
  });
});

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

  test('errors of 2012', () => {
    const disk = (attributes: string): string =>
      `<domainsnapshot><name>s</name><disks><disk ${attributes}/></disks></domainsnapshot>`;
    const parse = (xml: string, flags: readonly ParseFlag[]) => expect(() => parseSnapshot(xml, { ...options, flags }));
    parse(disk("name='a'"), []).toThrow('argument unsupported: unable to handle disk requests in snapshot');
    parse(disk("name='a' snapshot='manual'"), ['DISKS']).toThrow(
      "internal error: unknown disk snapshot setting 'manual'",
    );
    parse('<x/>', []).toThrow('XML error: domainsnapshot');
  });
});
