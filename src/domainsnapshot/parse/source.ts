import type { NvmeSource, StorageSource, VhostUserSource } from '../model/source.ts';
import type { SourceType } from '../model/values.ts';
import { childNamed, property, type XmlElement } from '../xml/tree.ts';
import { parseExtras } from './extras.ts';
import { xmlFault } from './fault.ts';
import { parseNetworkSource } from './network.ts';
import { wrapping64 } from './number.ts';
import { booleanProperty, requiredProperty, unsignedProperty, wordProperty } from './property.ts';

/** How the source of a disk is read. */
export interface SourceContext {
  /** Parse flag REDEFINE: libvirt's domain parser takes its bit for "status". */
  readonly status: boolean;
  /** Parse flag INTERNAL: libvirt's domain parser takes its bit for "inactive". */
  readonly inactive: boolean;
}

function hex(value: number): string {
  return `0x${value.toString(16).toUpperCase()}`;
}

function parsePciAddress(element: XmlElement): NvmeSource['address'] {
  const part = (name: string): number => unsignedProperty(element, name, 0) ?? 0;
  const address = { domain: part('domain'), bus: part('bus'), slot: part('slot'), function: part('function') };
  wordProperty(element, 'multifunction', ['on', 'off']);
  // libvirt takes an address of nothing but a function for an empty one, and does not check it.
  if (address.domain === 0 && address.bus === 0 && address.slot === 0) return address;
  if (address.bus > 0xff) throw xmlFault(`Invalid PCI address bus='${hex(address.bus)}', must be <= 0xFF`, element);
  if (address.slot > 0x1f) throw xmlFault(`Invalid PCI address slot='${hex(address.slot)}', must be <= 0x1F`, element);
  if (address.function > 7)
    throw xmlFault(`Invalid PCI address function=${hex(address.function)}, must be <= 7`, element);
  return address;
}

function parseNvmeSource(source: XmlElement): NvmeSource {
  const type = property(source, 'type');
  if (type === undefined) throw xmlFault("missing 'type' attribute to disk source", source);
  if (type !== 'pci') throw xmlFault(`unsupported source type '${type}'`, source);
  const text = property(source, 'namespace');
  if (text === undefined) throw xmlFault("missing 'namespace' attribute to disk source", source);
  const namespace = wrapping64(text);
  if (namespace === undefined) throw xmlFault(`malformed namespace '${text}'`, source);
  const managed = booleanProperty(source, 'managed');
  const address = childNamed(source, 'address');
  if (address === undefined) throw xmlFault('NVMe disk source is missing address', source);
  return {
    type: 'nvme',
    namespace,
    ...(managed === undefined ? {} : { managed }),
    address: parsePciAddress(address),
  };
}

function parseVhostUserSource(source: XmlElement): VhostUserSource {
  const type = property(source, 'type');
  if (type === undefined) throw xmlFault("missing 'type' attribute for vhostuser disk source", source);
  if (type !== 'unix') throw xmlFault("invalid 'type' attribute for vhostuser disk source", source);
  const socket = property(source, 'path');
  if (socket === undefined) throw xmlFault("missing 'path' attribute for vhostuser disk source", source);
  const element = childNamed(source, 'reconnect');
  const enabled = element && booleanProperty(element, 'enabled');
  if (element === undefined || enabled === undefined) return { type: 'vhostuser', socket };
  if (!enabled) return { type: 'vhostuser', socket, reconnect: { enabled } };
  requiredProperty(element, 'timeout');
  const timeout = unsignedProperty(element, 'timeout');
  return { type: 'vhostuser', socket, reconnect: { enabled, ...(timeout === undefined ? {} : { timeout }) } };
}

function parseLocation(source: XmlElement, type: SourceType, context: SourceContext): StorageSource {
  switch (type) {
    case 'file': {
      const path = property(source, 'file');
      const fdGroup = property(source, 'fdgroup');
      // An empty path is what careless programs write for "none"; libvirt lets it pass as that.
      return { type, ...(path ? { path } : {}), ...(fdGroup === undefined ? {} : { fdGroup }) };
    }
    case 'block': {
      const path = property(source, 'dev');
      return { type, ...(path ? { path } : {}) };
    }
    case 'network':
      return parseNetworkSource(source, context.status);
    case 'nvme':
      return parseNvmeSource(source);
    case 'vhostuser':
      return parseVhostUserSource(source);
    case 'vhostvdpa':
      break;
  }
  return { type, device: requiredProperty(source, 'dev') };
}

/** A `<source>` of the given type (`virDomainStorageSourceParse`). Attributes of other types are not looked at. */
export function parseSource(source: XmlElement, type: SourceType, context: SourceContext): StorageSource {
  const location = parseLocation(source, type, context);
  return { ...location, ...parseExtras(source, context.inactive) };
}
