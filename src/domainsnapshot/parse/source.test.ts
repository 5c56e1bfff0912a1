import { describe, expect, test } from 'vitest';
import { formatSnapshot } from '../format/snapshot.ts';
import { type ParseFlag, parseSnapshot } from './snapshot.ts';

// Each answer was compared with libvirt 9.0's own, except where it says 11.3.

/** What is printed below a disk of this type with this inside, on one line; or the error. */
function answer(type: string, inner: string, flags: readonly ParseFlag[] = []): string {
  const xml = `<domainsnapshot xmlns:x='u'><name>s</name><disks><disk name='v' type='${type}'>${inner}</disk></disks></domainsnapshot>`;
  try {
    const text = formatSnapshot(parseSnapshot(xml, { flags, now: 0n }).snapshot);
    const body = text.slice(text.indexOf('<disks>') + 7, text.indexOf('</disks>')).replaceAll(/\n\s*/g, '');
    return body.replace(/^<disk [^>]*>/, '').replace('</disk>', '');
  } catch (error) {
    return error instanceof Error ? error.message : String(error);
  }
}

const DRIVER = "<driver type='qcow2'/>";

describe('network sources', () => {
  test.each([
    ["protocol='nbd' name='e'", "<host name='h'/>", "protocol='nbd' name='e'", "<host name='h' port='10809'/>"],
    ["protocol='rbd' name='p/a/b'", "<host name='h'/>", "protocol='rbd' name='p/a/b'", "<host name='h'/>"],
    [
      "protocol='nbd' name='e'",
      "<host name='h' transport='rdma'/>",
      "protocol='nbd' name='e'",
      "<host name='h' transport='rdma'/>",
    ],
    [
      "protocol='nbd' name='e'",
      "<host transport='unix' socket='' port='x'/>",
      "protocol='nbd' name='e'",
      "<host transport='unix' socket=''/>",
    ],
    [
      "protocol='nbd' name='e'",
      "<host name='h' port=' +080'/>",
      "protocol='nbd' name='e'",
      "<host name='h' port='80'/>",
    ],
    [
      "protocol='https' name='a' query='q'",
      "<ssl verify='no'/><readahead size='1'/><timeout seconds='0'/>",
      "protocol='https' name='a' query='q'",
      "<ssl verify='no'/><readahead size='1'/>",
    ],
    ["protocol='ftp' name='a' query='q'", "<ssl verify='x'/>", "protocol='ftp' name='a'", ''],
    [
      "protocol='iscsi' name='a'",
      "<initiator><iqn/><iqn name='b'/></initiator>",
      "protocol='iscsi' name='a'",
      "<initiator><iqn name='b'/></initiator>",
    ],
    ["x:protocol='nbd' name='e'", "<x:host name='h'/>", "protocol='nbd' name='e'", ''],
  ])('%s %s', (attributes, children, written, below) => {
    const source = below === '' ? `<source ${written}/>` : `<source ${written}>${below}</source>`;
    expect(answer('network', `<source ${attributes}>${children}</source>`)).toBe(source);
  });

  test.each([
    ["name='a'", '', "XML error: Missing required attribute 'protocol' in element 'source'"],
    ["protocol='x' name='a'", '', "XML error: Invalid value for attribute 'protocol' in element 'source': 'x'."],
    ["protocol='http'", '', 'XML error: missing name for disk source'],
    ["protocol='rbd' name='/i'", '', "XML error: can't split path '/i' into pool name and image name"],
    ["protocol='nbd' name='e' tls=''", '', "XML error: Invalid value for attribute 'tls' in element 'source': ''."],
    ["protocol='nbd' name='e'", "<host name='h' port='65536'/>", "invalid argument: port '65536' out of range"],
    ["protocol='nbd' name='e'", "<host name='h' port='80 '/>", "invalid argument: failed to parse port number '80 '"],
    // 11.3; 9.0 has words of its own.
    [
      "protocol='nbd' name='e'",
      "<host name='h' transport='x'/>",
      "XML error: Invalid value for attribute 'transport' in element 'host': 'x'.",
    ],
    [
      "protocol='nbd' name='e'",
      "<host name='h' socket='/s'/>",
      "XML error: transport 'tcp' does not support socket attribute",
    ],
    ["protocol='nbd' name='e'", "<host transport='unix'/>", 'XML error: missing socket for unix transport'],
    ["protocol='http' name='a'", "<timeout seconds='-1'/>", 'XML error: invalid readahead size or timeout'],
    ["protocol='http' name='a'", "<cookies><cookie name=''>v</cookie></cookies>", 'XML error: missing cookie name'],
    ["protocol='http' name='a'", "<cookies><cookie name='a'/></cookies>", "XML error: missing value for cookie 'a'"],
    [
      "protocol='http' name='a'",
      "<cookies><cookie name='a;'>v</cookie></cookies>",
      "XML error: cookie name 'a;' contains invalid characters",
    ],
    [
      "protocol='http' name='a'",
      "<cookies><cookie name='a'>\"v</cookie></cookies>",
      "XML error: value of cookie 'a' contains invalid characters",
    ],
    [
      "protocol='http' name='a'",
      "<cookies><cookie name='a'>1</cookie><cookie name='a'>2</cookie></cookies>",
      "XML error: duplicate cookie 'a'",
    ],
  ])('%s %s is refused', (attributes, children, message) => {
    expect(answer('network', `<source ${attributes}>${children}</source>`)).toBe(message);
  });

  test('cookies are read and never written; only the first list counts', () => {
    const cookies = `<cookies><cookie name='a'>"</cookie></cookies><cookies><cookie/></cookies>`;
    expect(answer('network', `<source protocol='http' name='a'>${cookies}</source>`)).toBe(
      "<source protocol='http' name='a'/>",
    );
  });

  test('a network disk without source', () => {
    expect(answer('network', DRIVER)).toBe(`${DRIVER}<source protocol='none'/>`);
  });
});

describe('what any source can have', () => {
  const UUID = '0a81f5b2-8403-7b23-c8d6-21ccc2f80d6f';
  test.each([
    ["<auth username='u' type='none'><secret usage='k'/></auth>", "<auth username='u'><secret usage='k'/></auth>"],
    [
      `<auth username='u' type='chap'><secret type='iscsi' uuid='${UUID.toUpperCase()}'/></auth>`,
      `<auth type='chap' username='u'><secret type='iscsi' uuid='${UUID}'/></auth>`,
    ],
    [
      `<encryption format='luks'><secret type='passphrase' uuid='-${UUID.replaceAll('-', '')}'/></encryption>`,
      `<encryption format='luks'><secret type='passphrase' uuid='${UUID}'/></encryption>`,
    ],
    ["<encryption format='luks2'><cipher/></encryption>", "<encryption format='luks2'></encryption>"],
    [
      "<encryption format='luks' engine='qemu'><cipher name='a' size='1' mode='m' hash='h'/><ivgen name='i'/></encryption>",
      "<encryption format='luks' engine='qemu'><cipher name='a' size='1' mode='m' hash='h'/><ivgen name='i'/></encryption>",
    ],
    ["<reservations managed='yes'/>", "<reservations managed='yes'/>"],
    [
      "<slices><slice type='x'/><slice type='storage' offset='1' size='0'/></slices>",
      "<slices><slice type='storage' offset='1' size='0'/></slices>",
    ],
    ['<seclabel/><seclabel/>', "<seclabel relabel='yes'/><seclabel relabel='yes'/>"],
    ["<seclabel labelskip='yes' relabel='no'/>", "<seclabel labelskip='yes'/>"],
    ["<seclabel model=''><label/></seclabel>", "<seclabel model='' relabel='yes'/>"],
  ])('%s', (inner, expected) => {
    expect(answer('file', `<source file='/a'>${inner}</source>`)).toBe(`<source file='/a'>${expected}</source>`);
  });

  test.each([
    ['<auth/>', 'XML error: missing username for auth'],
    ["<auth username='u'/>", 'XML error: Missing <secret> element in auth'],
    ["<auth username='u' type='x'/>", "unsupported configuration: unknown auth type 'x'"],
    ["<auth username='u'><secret/></auth>", 'XML error: missing secret uuid or usage attribute'],
    ["<auth username='u'><secret uuid='x'/></auth>", "XML error: invalid secret uuid 'x'"],
    ['<encryption/>', 'XML error: unknown volume encryption format'],
    ["<encryption format='luks'><secret/></encryption>", 'XML error: unknown volume encryption secret type'],
    [
      "<encryption format='luks'><secret type='x'/></encryption>",
      'unsupported configuration: unknown volume encryption secret type x',
    ],
    ["<encryption format='luks'><cipher/></encryption>", "XML error: cipher info missing 'name' attribute"],
    [
      "<encryption format='luks'><cipher name='a'/></encryption>",
      "XML error: Missing required attribute 'size' in element 'cipher'",
    ],
    ["<encryption format='luks'><ivgen/></encryption>", 'XML error: ivgen element found, but cipher is missing'],
    ["<reservations managed='no'/>", 'XML error: missing connection type for <reservations/>'],
    ["<reservations managed='yes'><source type='unix'/></reservations>", 'XML error: missing path for <reservations/>'],
    [
      "<reservations managed='no'><source type='tcp' path='/p' mode='client'/></reservations>",
      'XML error: unsupported connection type for <reservations/>: tcp',
    ],
    ["<slices><slice type='storage' offset='1'/></slices>", 'XML error: missing offset or size attribute of slice'],
    [
      "<slices><slice type='storage' offset='-1' size='1'/></slices>",
      "XML error: malformed value '-1' of 'offset' attribute of slice",
    ],
    ["<seclabel model='a'/><seclabel model='a'/>", 'seclabel for model a is already provided'],
  ])('%s is refused', (inner, message) => {
    expect(answer('file', `<source file='/a'>${inner}</source>`)).toBe(message);
  });

  test('labelskip is not read with INTERNAL, as in libvirt', () => {
    const xml =
      "<domainsnapshot><active>0</active><disks><disk name='v'><source file='/a'><seclabel labelskip='yes'/></source></disk></disks></domainsnapshot>";
    expect(formatSnapshot(parseSnapshot(xml, { flags: ['INTERNAL'] }).snapshot)).toContain("<seclabel relabel='yes'/>");
  });
});

describe('nvme and vhostuser', () => {
  const NVME = "<source type='pci' managed='yes' namespace='1'>";
  test.each([
    [
      'nvme',
      `${DRIVER}${NVME}<address domain='12' bus='010' slot='0x1F' function='7'/></source>`,
      `${DRIVER}${NVME}<address domain='0x000c' bus='0x08' slot='0x1f' function='0x7'/></source>`,
    ],
    // Nothing but a function is an empty address to libvirt, and not checked.
    [
      'nvme',
      `${DRIVER}${NVME}<address function='8'/></source>`,
      `${DRIVER}${NVME}<address domain='0x0000' bus='0x00' slot='0x00' function='0x8'/></source>`,
    ],
    [
      'nvme',
      `${DRIVER}<source type='pci' namespace='-1'><address bus='1'/></source>`,
      `${DRIVER}<source type='pci' namespace='18446744073709551615'><address domain='0x0000' bus='0x01' slot='0x00' function='0x0'/></source>`,
    ],
    ['nvme', DRIVER, DRIVER],
    [
      'nvme',
      `${NVME}<address bus='1' slot='33'/></source>`,
      "XML error: Invalid PCI address slot='0x21', must be <= 0x1F",
    ],
    ['nvme', `${NVME}<address bus='256'/></source>`, "XML error: Invalid PCI address bus='0x100', must be <= 0xFF"],
    [
      'nvme',
      `${NVME}<address bus='08'/></source>`,
      "XML error: Invalid value for attribute 'bus' in element 'address': '08'. Expected non-negative integer value",
    ],
    ['nvme', `${NVME}</source>`, 'XML error: NVMe disk source is missing address'],
    ['nvme', "<source type='pci'/>", "XML error: missing 'namespace' attribute to disk source"],
    [
      'vhostuser',
      `${DRIVER}<source type='unix' path='/s&amp;'><reconnect enabled='yes' timeout='0'/></source>`,
      `${DRIVER}<source type='unix' path='/s&amp;'><reconnect enabled='yes' timeout='0'/></source>`,
    ],
    [
      'vhostuser',
      `${DRIVER}<source type='unix' path=''><reconnect enabled='no' timeout='5'/></source>`,
      `${DRIVER}<source type='unix' path=''><reconnect enabled='no'/></source>`,
    ],
    [
      'vhostuser',
      "<source type='unix' path='/s'><reconnect enabled='yes'/></source>",
      "XML error: Missing required attribute 'timeout' in element 'reconnect'",
    ],
    ['vhostuser', "<source type='tcp' path='/s'/>", "XML error: invalid 'type' attribute for vhostuser disk source"],
  ])('%s %s', (type, inner, expected) => {
    expect(answer(type, inner)).toBe(expected);
  });
});

function cache(size: string): string {
  const printed = answer('file', `<driver type='qcow2'><metadata_cache>${size}</metadata_cache></driver>`);
  return printed.replace(/.*'bytes'>(\d+)<.*/, '$1');
}

describe('the size of the metadata cache', () => {
  test.each([
    ["<max_size unit='KiB'> +5</max_size>", '5120'],
    ["<max_size unit='kb'>5</max_size>", '5000'],
    ["<max_size unit='E'>15</max_size>", '17293822569102704640'],
    // The unit is XPath's first of any.
    ["<max_size>2</max_size><max_size unit='KiB'>1</max_size>", '2048'],
    ["<max_size unit='x'/>", DRIVER],
    ["<max_size unit='Ki'>5</max_size>", "invalid argument: unknown suffix 'Ki'"],
    ["<max_size unit='E'>16</max_size>", 'numerical overflow: value too large: 16E'],
    [
      '<max_size>0x10</max_size>',
      "XML error: Invalid value '0x10' for element or attribute './driver/metadata_cache/max_size'",
    ],
  ])('%s', (size, expected) => {
    expect(cache(size)).toBe(expected);
  });
});
