import type { NetworkCookie, NetworkHost, NetworkSource } from '../model/source.ts';
import { type HostTransport, type NetworkProtocol, PROTOCOL_PORTS, TRANSPORTS } from '../model/values.ts';
import {
  childNamed,
  childrenNamed,
  property,
  textOf,
  type XmlElement,
  xpathAttribute,
  xpathAttributeAt,
} from '../xml/tree.ts';
import { Fault, xmlFault } from './fault.ts';
import { signed32, unsigned32, unsigned64 } from './number.ts';
import { booleanProperty, checkIntegerProperty, requiredProperty, wordProperty } from './property.ts';

const PROTOCOLS = Object.keys(PROTOCOL_PORTS) as NetworkProtocol[];

function parsePort(text: string, host: XmlElement): number {
  const port = unsigned32(text);
  if (port === undefined) throw new Fault('VIR_ERR_INVALID_ARG', `failed to parse port number '${text}'`, host);
  if (port > 65535) throw new Fault('VIR_ERR_INVALID_ARG', `port '${text}' out of range`, host);
  return port;
}

/** A `<host>`. Without a port it gets the usual one of the protocol, where there is one. */
function parseHost(element: XmlElement, protocol: NetworkProtocol): NetworkHost {
  const transport: HostTransport = wordProperty(element, 'transport', TRANSPORTS) ?? 'tcp';
  const socket = property(element, 'socket');
  if (transport === 'unix' && socket === undefined) throw xmlFault('missing socket for unix transport', element);
  if (transport !== 'unix' && socket !== undefined) {
    throw xmlFault(`transport '${transport}' does not support socket attribute`, element);
  }
  if (transport === 'unix') return { transport, ...(socket === undefined ? {} : { socket }) };
  const name = property(element, 'name');
  if (name === undefined) throw xmlFault('missing name for host', element);
  const given = property(element, 'port');
  const parsed = given === undefined ? 0 : parsePort(given, element);
  const port = parsed === 0 && transport === 'tcp' ? PROTOCOL_PORTS[protocol] : parsed;
  return { transport, name, ...(port === 0 ? {} : { port }) };
}

/** RFC 6265: what a cookie's name and value may not contain. */
const BAD_IN_COOKIE_NAME = /[ \t\r\n()<>@,;:\\"/[\]?={}]/;
const BAD_IN_COOKIE_VALUE = /[ \t\r\n",;\\]/;

/** The cookies of the first `<cookies>`: all are read, then all are checked. */
function parseCookies(source: XmlElement): readonly NetworkCookie[] {
  const list = childNamed(source, 'cookies');
  const cookies = (list ? childrenNamed(list, 'cookie') : []).map((element) => {
    const name = xpathAttribute(element, 'name');
    if (name === undefined) throw xmlFault('missing cookie name', element);
    const value = textOf(element);
    if (value === '') throw xmlFault(`missing value for cookie '${name}'`, element);
    return { name, value, element };
  });
  cookies.forEach(({ name, value, element }, place) => {
    if (BAD_IN_COOKIE_NAME.test(name)) {
      throw xmlFault(`cookie name '${name}' contains invalid characters`, element);
    }
    const bare = value.startsWith('"') && value.endsWith('"') ? value.slice(1, -1) : value;
    if (BAD_IN_COOKIE_VALUE.test(bare)) {
      throw xmlFault(`value of cookie '${name}' contains invalid characters`, element);
    }
    if (cookies.some((other, at) => at > place && other.name === name)) {
      throw xmlFault(`duplicate cookie '${name}'`, element);
    }
  });
  return cookies.map(({ name, value }) => ({ name, value }));
}

/** An attribute with an unsigned number; an empty one counts as absent, 0 as not set. */
function parseAmount(source: XmlElement, element: string, attribute: string): bigint | undefined {
  const text = xpathAttributeAt(source, [element], attribute);
  if (text === undefined) return undefined;
  const value = unsigned64(text);
  if (value === undefined) throw xmlFault('invalid readahead size or timeout', source);
  return value === 0n ? undefined : value;
}

/** rbd and gluster keep pool and image apart: split at the first `/`, which must not be the first character. */
function parseName(source: XmlElement, protocol: NetworkProtocol): { volume?: string; path?: string } {
  const name = property(source, 'name');
  if (name === undefined) {
    if (protocol !== 'nbd') throw xmlFault('missing name for disk source', source);
    return {};
  }
  if (protocol !== 'rbd' && protocol !== 'gluster') return name === '' ? {} : { path: name };
  const slash = name.indexOf('/');
  if (slash <= 0) throw xmlFault(`can't split path '${name}' into pool name and image name`, source);
  const path = name.slice(slash + 1);
  return { volume: name.slice(0, slash), ...(path === '' ? {} : { path }) };
}

function parseSslVerify(source: XmlElement): boolean | undefined {
  const ssl = childNamed(source, 'ssl');
  return ssl && booleanProperty(ssl, 'verify');
}

function parseIdentity(source: XmlElement): NetworkSource['identity'] {
  const element = childNamed(source, 'identity');
  const user = element && property(element, 'user');
  const group = element && property(element, 'group');
  if (user === undefined && group === undefined) return undefined;
  return { ...(user === undefined ? {} : { user }), ...(group === undefined ? {} : { group }) };
}

/**
 * `<source>` of a network disk.
 * @param status The parse flag REDEFINE has the bit of libvirt's "status", which checks `tlsFromConfig`.
 */
export function parseNetworkSource(source: XmlElement, status: boolean): NetworkSource {
  requiredProperty(source, 'protocol');
  // Required above: `none` is only what the type needs for an attribute that could be absent.
  const protocol = wordProperty(source, 'protocol', PROTOCOLS) ?? 'none';
  const web = ['http', 'https'].includes(protocol);
  const transfer = web || ['ftp', 'ftps'].includes(protocol);
  const tls = booleanProperty(source, 'tls');
  if (status) checkIntegerProperty(source, 'tlsFromConfig', signed32);
  const tlsHostname = property(source, 'tlsHostname');
  const name = parseName(source, protocol);
  const query = web ? property(source, 'query') : undefined;
  const snapshot = xpathAttributeAt(source, ['snapshot'], 'name');
  const config = xpathAttributeAt(source, ['config'], 'file');
  const hosts = childrenNamed(source, 'host').map((host) => parseHost(host, protocol));
  const initiator = xpathAttributeAt(source, ['initiator', 'iqn'], 'name');
  const sslVerify = ['https', 'ftps'].includes(protocol) ? parseSslVerify(source) : undefined;
  const cookies = web ? parseCookies(source) : [];
  const readahead = transfer ? parseAmount(source, 'readahead', 'size') : undefined;
  const timeout = transfer ? parseAmount(source, 'timeout', 'seconds') : undefined;
  const identity = protocol === 'nfs' ? parseIdentity(source) : undefined;
  return {
    type: 'network',
    protocol,
    ...name,
    ...(query === undefined ? {} : { query }),
    ...(tls === undefined ? {} : { tls }),
    ...(tlsHostname === undefined ? {} : { tlsHostname }),
    hosts,
    ...(identity === undefined ? {} : { identity }),
    ...(snapshot === undefined ? {} : { snapshot }),
    ...(config === undefined ? {} : { config }),
    ...(initiator === undefined ? {} : { initiator }),
    ...(sslVerify === undefined ? {} : { sslVerify }),
    ...(cookies.length === 0 ? {} : { cookies }),
    ...(readahead === undefined ? {} : { readahead }),
    ...(timeout === undefined ? {} : { timeout }),
  };
}
