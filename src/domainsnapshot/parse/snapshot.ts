import { DomainSnapshotError } from '../errors.ts';
import type { Snapshot, SnapshotDisk } from '../model/snapshot.ts';
import type { Profile } from '../model/profile.ts';
import { isOneOf, type SnapshotState, STATES } from '../model/values.ts';
import type { SnapshotSchema } from '../schema/schema.ts';
import { canonicalTree } from '../xml/canonical.ts';
import { type ReadDocument, type ReadOptions, readXml } from '../xml/document.ts';
import { childNamed, elementsOf, pathTo, select, type XmlElement, xpathAttributeAt, xpathString } from '../xml/tree.ts';
import { parseDisk, parseDisk2012, type DiskContext } from './disk.ts';
import { parseDomain } from './domain.ts';
import { Fault, xmlFault } from './fault.ts';
import { parseMemory } from './memory.ts';
import { signed32, signed64 } from './number.ts';

/**
 * The parse flags, by libvirt's names (`VIR_DOMAIN_SNAPSHOT_PARSE_…`). `MIRROR` is the patch's: the caller can act on
 * mirrors, so the one-line form is taken instead of refused. `TYPED_MIRROR` takes the forms with `type` and `format`
 * too. `DISKS` means something in the 2012 profile only.
 */
export type ParseFlag = 'REDEFINE' | 'INTERNAL' | 'OFFLINE' | 'VALIDATE' | 'MIRROR' | 'TYPED_MIRROR' | 'DISKS';

/** How a document is read. */
export interface ParseOptions extends ReadOptions {
  readonly flags?: readonly ParseFlag[];
  readonly profile?: Profile;
  /** The schema for `VALIDATE`, which needs one (see `loadSnapshotSchema`). */
  readonly schema?: SnapshotSchema;
  /** Seconds since 1970, for snapshots that are new (without REDEFINE); 0 = no clock. Default: the system's. */
  readonly now?: bigint;
  /**
   * What of the hypervisor's cookie is kept: `all` (default), or only what libvirt's qemu driver knows (`cpu` and
   * `slirpHelper`), as that driver does.
   */
  readonly cookie?: 'all' | 'qemu';
}

/** What a document says, and whether it says that it is current. */
export interface ParsedSnapshot {
  readonly snapshot: Snapshot;
  /** `<active>` of stored metadata was not 0; always false without INTERNAL. */
  readonly current: boolean;
}

interface Reading {
  readonly root: XmlElement;
  readonly flags: ReadonlySet<ParseFlag>;
  readonly modern: boolean;
  readonly cookie: ParseOptions['cookie'];
}

/** The fields that only redefining reads (section REDEFINE of docs/domainsnapshot.md), in the order of libvirt's checks. */
function parseRedefined({
  root,
  modern,
}: Reading): Pick<Snapshot, 'creationTime' | 'parent' | 'state' | 'domain' | 'inactiveDomain'> {
  const time = signed64(xpathString(root, 'creationTime') ?? '');
  if (time === undefined) {
    throw new Fault(
      'VIR_ERR_INTERNAL_ERROR',
      'missing creationTime from existing snapshot',
      place(root, 'creationTime'),
    );
  }
  const parent = xpathString(root, 'parent', 'name');
  const state = parseState(root, modern);
  const domain = childNamed(root, 'domain');
  // A domain without type is the stub that old metadata has: nothing is read from it, not even the uuid.
  const full = domain && xpathAttributeAt(root, ['domain'], 'type') !== undefined ? parseDomain(domain) : undefined;
  const inactive = modern ? childNamed(root, 'inactiveDomain') : undefined;
  return {
    ...(time === 0n ? {} : { creationTime: time }),
    ...(parent === undefined ? {} : { parent }),
    state,
    ...(full === undefined ? {} : { domain: full }),
    ...(inactive === undefined ? {} : { inactiveDomain: parseDomain(inactive) }),
  };
}

function parseState(root: XmlElement, modern: boolean): SnapshotState {
  const text = xpathString(root, 'state');
  const element = place(root, 'state');
  if (text === undefined) {
    throw new Fault(
      modern ? 'VIR_ERR_XML_ERROR' : 'VIR_ERR_INTERNAL_ERROR',
      'missing state from existing snapshot',
      element,
    );
  }
  if (!isOneOf(STATES, text) || (modern && text === 'nostate')) {
    throw new Fault(
      modern ? 'VIR_ERR_CONFIG_UNSUPPORTED' : 'VIR_ERR_XML_ERROR',
      `Invalid state '${text}' in domain snapshot XML`,
      element,
    );
  }
  return text;
}

/** The element that an error is about: the child if it is there, else where it is missing. */
function place(root: XmlElement, name: string): XmlElement {
  return childNamed(root, name) ?? root;
}

function parseDisks({ root, flags, modern }: Reading, state: SnapshotState | undefined): readonly SnapshotDisk[] {
  const elements = select(root, 'disks').flatMap(elementsOf);
  const context = diskContext(flags);
  if (modern) return elements.map((element) => parseDisk(element, context));
  const wanted = flags.has('DISKS') || (flags.has('REDEFINE') && state === 'disk-snapshot');
  if (wanted) return elements.map((element) => parseDisk2012(element, context));
  if (elements[0] !== undefined) {
    throw new Fault('VIR_ERR_ARGUMENT_UNSUPPORTED', 'unable to handle disk requests in snapshot', elements[0]);
  }
  return [];
}

function diskContext(flags: ReadonlySet<ParseFlag>): DiskContext {
  return {
    status: flags.has('REDEFINE'),
    inactive: flags.has('INTERNAL'),
    mirror: flags.has('TYPED_MIRROR') ? 'typed' : flags.has('MIRROR') ? 'file' : 'refused',
  };
}

function parseActive({ root }: Reading): boolean {
  const active = signed32(xpathString(root, 'active') ?? '');
  if (active === undefined) {
    throw new Fault('VIR_ERR_INTERNAL_ERROR', "Could not find 'active' element", place(root, 'active'));
  }
  return active !== 0;
}

/** The notes that libvirt's qemu driver knows, in the order in which it writes them. */
const QEMU_NOTES = ['cpu', 'slirpHelper'];

/** The cookie is kept even if it is empty: it says that there was one. */
function parseCookie(root: XmlElement, cookies: ParseOptions['cookie']): XmlElement | undefined {
  const cookie = childNamed(root, 'cookie');
  if (cookie === undefined || cookies !== 'qemu') return cookie && canonicalTree(cookie);
  const children = QEMU_NOTES.flatMap((name) => childNamed(cookie, name) ?? []);
  return canonicalTree({ ...cookie, children });
}

function parseRoot(reading: Reading, now: bigint): ParsedSnapshot {
  const { root, flags, modern } = reading;
  const redefine = flags.has('REDEFINE');
  const name = xpathString(root, 'name');
  if (name === undefined && redefine) throw xmlFault('a redefined snapshot must have a name', place(root, 'name'));
  const description = xpathString(root, 'description');
  const redefined = redefine ? parseRedefined(reading) : undefined;
  const offline = redefined
    ? redefined.state === 'shutoff' || redefined.state === 'disk-snapshot'
    : flags.has('OFFLINE');
  const memory = modern ? parseMemory(childNamed(root, 'memory'), { offline, redefine }) : undefined;
  const disks = parseDisks(reading, redefined?.state);
  const revertDisks = redefine && modern ? select(root, 'revertDisks').flatMap(elementsOf) : [];
  const reverted = revertDisks.map((element) => parseDisk(element, diskContext(flags)));
  const current = flags.has('INTERNAL') && parseActive(reading);
  const cookie = offline || !modern ? undefined : parseCookie(root, reading.cookie);
  const created = redefine || now === 0n ? {} : { creationTime: now };
  const finalName = name ?? (now === 0n ? undefined : String(now));
  const snapshot: Snapshot = {
    ...(finalName === undefined ? {} : { name: finalName }),
    ...(description === undefined ? {} : { description }),
    ...created,
    ...redefined,
    ...(memory === undefined ? {} : { memory }),
    disks,
    ...(reverted.length === 0 ? {} : { revertDisks: reverted }),
    ...(cookie === undefined ? {} : { cookie }),
  };
  return { snapshot, current };
}

function checkRoot(root: XmlElement, modern: boolean): void {
  if (root.name === 'domainsnapshot') return;
  throw xmlFault(modern ? `expecting root element of 'domainsnapshot', not '${root.name}'` : 'domainsnapshot', root);
}

/** Runs what may throw a fault, and says where in the document it was. */
function locating<T>(document: ReadDocument, action: () => T): T {
  try {
    return action();
  } catch (error) {
    if (!(error instanceof Fault)) throw error;
    throw new DomainSnapshotError(error.code, error.message, {
      line: document.lines.get(error.element),
      element: pathTo(document.root, error.element),
    });
  }
}

/**
 * Reads a `<domainsnapshot>` (`virDomainSnapshotDefParseString`).
 *
 * @param xml Bytes, or a string.
 * @throws DomainSnapshotError with libvirt's code and message, and the line and the element.
 */
export function parseSnapshot(xml: string | Uint8Array, options: ParseOptions = {}): ParsedSnapshot {
  const document = readXml(xml, options);
  const reading: Reading = {
    root: document.root,
    flags: new Set(options.flags),
    modern: options.profile !== 'seed-2012',
    cookie: options.cookie,
  };
  return locating(document, () => {
    checkRoot(document.root, reading.modern);
    if (reading.flags.has('VALIDATE')) {
      if (options.schema === undefined) throw new TypeError('the flag VALIDATE needs the option schema');
      options.schema.check(xml);
    }
    return parseRoot(reading, options.now ?? BigInt(Math.floor(Date.now() / 1000)));
  });
}

/**
 * Reads a `<domain>` document, for align: what `snapshot.domain` would hold.
 * @throws DomainSnapshotError as `parseSnapshot`.
 */
export function parseDomainDocument(xml: string | Uint8Array, options: ReadOptions = {}): XmlElement {
  const document = readXml(xml, options);
  return locating(document, () => {
    if (document.root.name !== 'domain') {
      throw xmlFault(`unexpected root element <${document.root.name}>, expecting <domain>`, document.root);
    }
    return parseDomain(document.root);
  });
}
