import { describe, expect, test } from 'vitest';
import { type ParseOptions, parseSnapshot } from '../parse/snapshot.ts';
import { escapeXml } from '../xml/writer.ts';
import { type FormatOptions, formatSnapshot } from './snapshot.ts';

const OS = '<os><type>hvm</type></os>';

function stored(inner: string): string {
  return `<domainsnapshot><name>s</name><state>running</state><creationTime>1</creationTime>${inner}</domainsnapshot>`;
}

/** What comes out of a stored snapshot, from a tag on. */
function printed(inner: string, from: string, format: FormatOptions = {}, parse: ParseOptions = {}): string {
  const text = formatSnapshot(parseSnapshot(stored(inner), { flags: ['REDEFINE'], ...parse }).snapshot, format);
  return text.slice(text.indexOf(from)).replace('</domainsnapshot>\n', '');
}

describe('the nested domain', () => {
  test("is laid out by libvirt's rules", () => {
    const domain = `<domain type="kvm" xmlns:qemu="u"><!-- c --><name>a'b</name>
      <description>two\nlines</description>${OS}<devices/><qemu:commandline><qemu:arg value='-x'/></qemu:commandline></domain>`;
    expect(printed(domain, '<domain ')).toBe(`<domain type='kvm' xmlns:qemu='u'>
    <name>a&apos;b</name>
    <description>two
lines</description>
    <os>
      <type>hvm</type>
    </os>
    <devices>
    </devices>
    <qemu:commandline>
      <qemu:arg value='-x'/>
    </qemu:commandline>
  </domain>
`);
  });

  test('foreign metadata keeps the layout of libxml2, one element for each namespace', () => {
    const metadata = `<metadata><a:x xmlns:a='u' k="'&quot;\u00e9"><a:y>t</a:y><a:z/></a:x><a:w xmlns:a='u'/><plain/><b xmlns='v'>t <c/><?p i?><![CDATA[<]]></b></metadata>`;
    const domain = `<domain type='kvm'><name>v</name>${metadata}${OS}</domain>`;
    expect(printed(domain, '<metadata>')).toBe(`<metadata>
      <a:x xmlns:a="u" k="'&quot;&#xE9;">
        <a:y>t</a:y>
        <a:z/>
      </a:x>
      <b xmlns="v">t <c/><?p i?><![CDATA[<]]></b>
    </metadata>
    <os>
      <type>hvm</type>
    </os>
  </domain>
`);
  });

  test('passwords are shown with SECURE only', () => {
    const domain = `<domain type='kvm'><name>v</name>${OS}<devices><graphics type='vnc' passwd='q'/></devices></domain>`;
    expect(printed(domain, '<graphics')).toMatch(/^<graphics type='vnc'\/>/);
    expect(printed(domain, '<graphics', { flags: ['SECURE'] })).toMatch(/^<graphics type='vnc' passwd='q'\/>/);
  });

  test('a stub is not read, and written with the uuid that the caller gives', () => {
    const stub = '<domain><uuid>1</uuid></domain>';
    expect(printed(stub, '<domainsnapshot>')).not.toContain('<domain>');
    expect(printed(stub, '<domain>', { domainUuid: 'u' })).toBe('<domain>\n    <uuid>u</uuid>\n  </domain>\n');
  });
});

describe('the cookie', () => {
  const cookie = "<cookie><slirpHelper/><other/><cpu mode='custom'/></cookie>";

  test('is kept, or reduced to what the qemu driver knows', () => {
    expect(printed(cookie, '<cookie>')).toBe(
      "<cookie>\n    <slirpHelper/>\n    <other/>\n    <cpu mode='custom'/>\n  </cookie>\n",
    );
    expect(printed(cookie, '<cookie>', {}, { cookie: 'qemu' })).toBe(
      "<cookie>\n    <cpu mode='custom'/>\n    <slirpHelper/>\n  </cookie>\n",
    );
  });

  test('is written with both tags even when it is empty', () => {
    expect(printed('<cookie/>', '<cookie>')).toBe('<cookie>\n  </cookie>\n');
  });
});

test('<active> is written with INTERNAL only', () => {
  expect(printed('', '<active>', { flags: ['INTERNAL'] })).toBe('<active>0</active>\n');
  expect(printed('', '<active>', { flags: ['INTERNAL', 'CURRENT'] })).toBe('<active>1</active>\n');
  expect(formatSnapshot({ disks: [] }, { flags: ['CURRENT'] })).toBe('<domainsnapshot>\n</domainsnapshot>\n');
});

test('escaping', () => {
  expect(escapeXml('<>&"\'')).toBe('&lt;&gt;&amp;&quot;&apos;');
  expect(escapeXml('a\u0001b\u001fc\t\n\rd\u0085\u{1f600}')).toBe('abc\t\n\rd\u0085\u{1f600}');
});
