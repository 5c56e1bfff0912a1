import { describe, expect, test } from 'vitest';
import { formatSnapshot } from '../format/snapshot.ts';
import { DomainSnapshotError } from '../errors.ts';
import { type ParseOptions, parseDomainDocument, parseSnapshot } from './snapshot.ts';

function failure(xml: string | Uint8Array, options: ParseOptions = {}): DomainSnapshotError {
  try {
    parseSnapshot(xml, options);
  } catch (error) {
    if (error instanceof DomainSnapshotError) return error;
    throw error;
  }
  throw new Error('was accepted');
}

function disks(inner: string): string {
  return `<domainsnapshot>\n<name>s</name>\n<disks>\n${inner}\n</disks>\n</domainsnapshot>`;
}

function deep(levels: number): string {
  return `<domainsnapshot>${'<a>'.repeat(levels)}${'</a>'.repeat(levels)}</domainsnapshot>`;
}

describe('errors', () => {
  test('carry code, number, message, line and element', () => {
    const error = failure(disks("<disk name='vda'/>\n<disk name='vdb'><mirror file='/m'/></disk>"));
    expect(JSON.parse(JSON.stringify(error))).toEqual({
      code: 'VIR_ERR_ARGUMENT_UNSUPPORTED',
      number: 74,
      message: "argument unsupported: unable to handle mirroring for 'vdb'",
      line: 5,
      element: '/domainsnapshot/disks/disk[2]/mirror',
    });
  });

  test('of libxml2 have the line', () => {
    expect(failure('<domainsnapshot>\n<name></domainsnapshot>')).toMatchObject({
      code: 'VIR_ERR_XML_DETAIL',
      number: 35,
      line: 2,
    });
    expect(failure('')).toMatchObject({ code: 'VIR_ERR_XML_DETAIL' });
  });

  test('a missing child is reported at its parent', () => {
    expect(failure('<domainsnapshot><name>s</name></domainsnapshot>', { flags: ['REDEFINE'] })).toMatchObject({
      message: 'internal error: missing creationTime from existing snapshot',
      element: '/domainsnapshot',
    });
  });

  test('VALIDATE without a schema is a mistake of the caller', () => {
    expect(() => parseSnapshot('<domainsnapshot/>', { flags: ['VALIDATE'] })).toThrow(TypeError);
  });
});

describe('bounds', () => {
  const doctype = "<!DOCTYPE d [<!ENTITY a 'b'>]><domainsnapshot><name>&a;</name></domainsnapshot>";

  test('a DOCTYPE is refused unless the caller takes internal entities', () => {
    expect(failure(doctype).message).toBe('a document type declaration is not accepted');
    expect(parseSnapshot(doctype, { doctype: 'internal' }).snapshot.name).toBe('b');
  });

  test('nothing outside the document is read', () => {
    const xml =
      "<!DOCTYPE d [<!ENTITY a SYSTEM 'file:///etc/hostname'>]><domainsnapshot><name>x&a;</name></domainsnapshot>";
    expect(parseSnapshot(xml, { doctype: 'internal' }).snapshot.name).toBe('x');
  });

  test('entities that grow are refused by libxml2', () => {
    const levels = Array.from({ length: 12 }, (_, n) => `<!ENTITY e${n + 1} "${`&e${n};`.repeat(10)}">`).join('');
    const xml = `<!DOCTYPE d [<!ENTITY e0 "xxxxxxxxxx">${levels}]><domainsnapshot><name>&e12;</name></domainsnapshot>`;
    expect(failure(xml, { doctype: 'internal' }).code).toBe('VIR_ERR_XML_DETAIL');
  });

  test('length and depth have limits', () => {
    expect(failure('<domainsnapshot/>', { maxBytes: 10 }).message).toBe(
      'document has 17 bytes, more than the limit of 10',
    );
    expect(failure(deep(300)).code).toBe('VIR_ERR_XML_DETAIL');
    expect(parseSnapshot(deep(200)).snapshot.disks).toEqual([]);
  });
});

describe('documents', () => {
  test('bytes in the encoding that they declare, strings in none', () => {
    const xml = "<?xml version='1.0' encoding='ISO-8859-1'?><domainsnapshot><name>\u00e9</name></domainsnapshot>";
    expect(parseSnapshot(Buffer.from(xml, 'latin1')).snapshot.name).toBe('\u00e9');
    expect(parseSnapshot(xml).snapshot.name).toBe('\u00e9');
  });

  test('an undeclared prefix is no error, as in libvirt', () => {
    expect(parseSnapshot('<domainsnapshot><y:name>a</y:name><name>b</name></domainsnapshot>').snapshot.name).toBe('b');
  });

  test('processing instructions are stepped over', () => {
    expect(parseSnapshot('<domainsnapshot><?a b?><?c?><name>n<?d?>m</name></domainsnapshot>').snapshot.name).toBe('nm');
  });

  test('the clock gives time and name where there is none', () => {
    expect(parseSnapshot('<domainsnapshot/>', { now: 7n }).snapshot).toEqual({
      name: '7',
      creationTime: 7n,
      disks: [],
    });
    expect(parseSnapshot('<domainsnapshot/>', { now: 0n }).snapshot).toEqual({ disks: [] });
  });

  test('<active> is read with INTERNAL only', () => {
    const xml = '<domainsnapshot><name>s</name><active>2</active></domainsnapshot>';
    expect(parseSnapshot(xml, { flags: ['INTERNAL'] }).current).toBe(true);
    expect(parseSnapshot(xml).current).toBe(false);
  });

  test('a domain document', () => {
    const domain = parseDomainDocument("<domain type='kvm'><name>v</name><os><type>hvm</type></os></domain>");
    expect(domain.name).toBe('domain');
    expect(() => parseDomainDocument('<domain/>')).toThrow('missing name information');
    expect(() => parseDomainDocument('<x/>')).toThrow('unexpected root element <x>');
  });
});

describe('revertDisks and vhostvdpa, of later libvirts', () => {
  test('are kept', () => {
    const xml = `<domainsnapshot>
  <name>s</name>
  <state>shutoff</state>
  <creationTime>1</creationTime>
  <memory snapshot='no'/>
  <disks>
    <disk name='vda' snapshot='external' type='vhostvdpa'>
      <driver type='raw'/>
      <source dev='/dev/vhost-vdpa-0'/>
    </disk>
  </disks>
  <revertDisks>
    <disk name='vda' snapshot='external' type='file'>
      <source file='/a.17'/>
    </disk>
  </revertDisks>
</domainsnapshot>
`;
    expect(formatSnapshot(parseSnapshot(xml, { flags: ['REDEFINE'] }).snapshot)).toBe(xml);
    expect(failure(disks("<disk name='vda' type='vhostvdpa'><source/></disk>")).message).toBe(
      "XML error: Missing required attribute 'dev' in element 'source'",
    );
  });
});
