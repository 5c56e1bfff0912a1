import { canonicalTree } from '../xml/canonical.ts';
import { property, select, type XmlElement, xpathString } from '../xml/tree.ts';
import { Fault, xmlFault } from './fault.ts';
import { LOCATIONS } from '../model/values.ts';
import { wordProperty } from './property.ts';
import { normalUuid } from '../model/uuid.ts';

/** What runs a domain (`virDomainVirtType`). */
const DOMAIN_TYPES = [
  'none',
  'qemu',
  'kqemu',
  'kvm',
  'xen',
  'lxc',
  'uml',
  'openvz',
  'test',
  'vmware',
  'hyperv',
  'vbox',
  'phyp',
  'parallels',
  'bhyve',
  'vz',
  'hvf',
];

const OS_TYPES = ['hvm', 'xen', 'linux', 'exe', 'uml', 'xenpvh'];
const DISK_TYPES = ['file', 'block', 'dir', 'network', 'volume', 'nvme', 'vhostuser', 'vhostvdpa'] as const;
const DISK_DEVICES = ['disk', 'cdrom', 'floppy', 'lun'] as const;

function checkIdentity(domain: XmlElement): void {
  const name = xpathString(domain, 'name');
  if (name === undefined) throw new Fault('VIR_ERR_NO_NAME', 'missing name information', domain);
  const uuid = xpathString(domain, 'uuid');
  if (uuid !== undefined && normalUuid(uuid) === undefined) {
    throw new Fault('VIR_ERR_INTERNAL_ERROR', 'malformed uuid element', domain);
  }
}

/** What libvirt checks after it has read everything. */
function checkTexts(domain: XmlElement): void {
  const name = xpathString(domain, 'name') ?? '';
  if (name.includes('/')) throw xmlFault(`name ${name} cannot contain '/'`, domain);
  if (xpathString(domain, 'title')?.includes('\n')) throw xmlFault("Domain title can't contain newlines", domain);
}

function checkTypes(domain: XmlElement): void {
  const type = property(domain, 'type');
  if (type === undefined || type === '') {
    throw new Fault('VIR_ERR_INTERNAL_ERROR', 'missing domain type attribute', domain);
  }
  if (!DOMAIN_TYPES.includes(type)) {
    throw new Fault('VIR_ERR_CONFIG_UNSUPPORTED', `invalid domain type ${type}`, domain);
  }
  const os = xpathString(domain, 'os', 'type');
  if (os === undefined && xpathString(domain, 'bootloader') === undefined) {
    throw xmlFault('an os <type> must be specified', domain);
  }
  if (os !== undefined && !OS_TYPES.includes(os)) {
    throw new Fault('VIR_ERR_CONFIG_UNSUPPORTED', `unknown OS type '${os}'`, domain);
  }
}

/**
 * Reads a full `<domain>` or `<inactiveDomain>`. Only what this room itself uses of a domain is checked: name, uuid,
 * type, and the words of its disks. The rest is kept as a tree, without the blanks between elements.
 */
export function parseDomain(domain: XmlElement): XmlElement {
  checkIdentity(domain);
  checkTypes(domain);
  for (const disk of select(domain, 'devices', 'disk')) {
    wordProperty(disk, 'type', DISK_TYPES);
    wordProperty(disk, 'device', DISK_DEVICES);
    wordProperty(disk, 'snapshot', LOCATIONS);
  }
  checkTexts(domain);
  return canonicalTree(domain);
}
