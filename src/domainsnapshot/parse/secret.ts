import type { SecretReference, SourceAuth, SourceEncryption } from '../model/source.ts';
import { normalUuid } from '../model/uuid.ts';
import { childrenNamed, property, xpathAttribute, type XmlElement } from '../xml/tree.ts';
import { Fault, xmlFault } from './fault.ts';
import { requiredProperty, unsignedProperty, wordProperty } from './property.ts';

function parseReference(element: XmlElement): SecretReference {
  const uuid = property(element, 'uuid');
  const usage = property(element, 'usage');
  if (uuid === undefined && usage === undefined) throw xmlFault('missing secret uuid or usage attribute', element);
  if (uuid === undefined) return { usage: usage ?? '' };
  if (usage !== undefined) throw xmlFault('either secret uuid or usage expected', element);
  const normal = normalUuid(uuid);
  if (normal === undefined) throw xmlFault(`invalid secret uuid '${uuid}'`, element);
  return { uuid: normal };
}

/** `<auth>` of a source. */
export function parseAuth(element: XmlElement): SourceAuth {
  const username = xpathAttribute(element, 'username');
  if (username === undefined) throw xmlFault('missing username for auth', element);
  const type = xpathAttribute(element, 'type');
  if (type !== undefined && !['none', 'chap', 'ceph'].includes(type)) {
    throw new Fault('VIR_ERR_CONFIG_UNSUPPORTED', `unknown auth type '${type}'`, element);
  }
  const secret = childrenNamed(element, 'secret')[0];
  if (secret === undefined) throw xmlFault('Missing <secret> element in auth', element);
  const secretType = property(secret, 'type');
  return {
    username,
    ...(type === undefined || type === 'none' ? {} : { type }),
    ...(secretType === undefined ? {} : { secretType }),
    secret: parseReference(secret),
  };
}

function parseEncryptionSecret(element: XmlElement): SecretReference {
  const type = xpathAttribute(element, 'type');
  if (type === undefined) throw xmlFault('unknown volume encryption secret type', element);
  if (type !== 'passphrase') {
    throw new Fault('VIR_ERR_CONFIG_UNSUPPORTED', `unknown volume encryption secret type ${type}`, element);
  }
  return parseReference(element);
}

function parseCipher(element: XmlElement): NonNullable<SourceEncryption['cipher']> {
  const name = property(element, 'name');
  if (name === undefined) throw xmlFault("cipher info missing 'name' attribute", element);
  requiredProperty(element, 'size');
  const mode = property(element, 'mode');
  const hash = property(element, 'hash');
  return {
    name,
    size: unsignedProperty(element, 'size') ?? 0,
    ...(mode === undefined ? {} : { mode }),
    ...(hash === undefined ? {} : { hash }),
  };
}

function parseIvgen(element: XmlElement): NonNullable<SourceEncryption['ivgen']> {
  const name = property(element, 'name');
  if (name === undefined) throw xmlFault('missing ivgen info name string', element);
  const hash = property(element, 'hash');
  return { name, ...(hash === undefined ? {} : { hash }) };
}

/** Formats of `<encryption>`; `luks-any` is younger than libvirt 9.0. */
const FORMATS = ['default', 'qcow', 'luks', 'luks2', 'luks-any'];

/** `<encryption>` of a source. A cipher is only read for luks. */
export function parseEncryption(element: XmlElement): SourceEncryption {
  const format = xpathAttribute(element, 'format');
  if (format === undefined) throw xmlFault('unknown volume encryption format', element);
  if (!FORMATS.includes(format)) {
    throw new Fault('VIR_ERR_CONFIG_UNSUPPORTED', `unknown volume encryption format type ${format}`, element);
  }
  const engine = wordProperty(element, 'engine', ['qemu', 'librbd']);
  const secrets = childrenNamed(element, 'secret').map(parseEncryptionSecret);
  const base: SourceEncryption = { format, ...(engine === undefined ? {} : { engine }), secrets };
  if (format !== 'luks') return base;
  const cipher = childrenNamed(element, 'cipher')[0];
  const ivgen = childrenNamed(element, 'ivgen')[0];
  if (cipher === undefined) {
    if (ivgen !== undefined) throw xmlFault('ivgen element found, but cipher is missing', element);
    return base;
  }
  const parsed = parseCipher(cipher);
  return { ...base, cipher: parsed, ...(ivgen === undefined ? {} : { ivgen: parseIvgen(ivgen) }) };
}
