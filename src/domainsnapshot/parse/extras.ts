import type { SecurityLabel, SourceExtras, SourceReservations, StorageSlice } from '../model/source.ts';
import { childNamed, childrenNamed, select, xpathAttribute, xpathString, type XmlElement } from '../xml/tree.ts';
import { Fault, xmlFault } from './fault.ts';
import { unsigned64 } from './number.ts';
import { booleanProperty, requiredProperty } from './property.ts';
import { property } from '../xml/tree.ts';
import { parseAuth, parseEncryption } from './secret.ts';

/** `<reservations>`: an unmanaged helper must be named; a managed one may be, and is then checked too. */
function parseReservations(element: XmlElement): SourceReservations {
  requiredProperty(element, 'managed');
  const managed = booleanProperty(element, 'managed') === true;
  const source = childNamed(element, 'source');
  const type = source && xpathAttribute(source, 'type');
  const path = source && xpathAttribute(source, 'path');
  const mode = source && xpathAttribute(source, 'mode');
  if (managed && type === undefined && path === undefined && mode === undefined) return { managed };
  if (type === undefined) throw xmlFault('missing connection type for <reservations/>', element);
  if (path === undefined) throw xmlFault('missing path for <reservations/>', element);
  if (mode === undefined) throw xmlFault('missing connection mode for <reservations/>', element);
  if (type !== 'unix') throw xmlFault(`unsupported connection type for <reservations/>: ${type}`, element);
  if (mode !== 'client') throw xmlFault(`unsupported connection mode for <reservations/>: ${mode}`, element);
  return { managed, path };
}

/** The first `slices/slice` of type storage. */
function parseSlice(source: XmlElement): StorageSlice | undefined {
  const slice = select(source, 'slices', 'slice').find((each) => xpathAttribute(each, 'type') === 'storage');
  if (slice === undefined) return undefined;
  const offset = xpathAttribute(slice, 'offset');
  const size = xpathAttribute(slice, 'size');
  if (offset === undefined || size === undefined) throw xmlFault('missing offset or size attribute of slice', slice);
  const number = (text: string, name: string): bigint => {
    const value = unsigned64(text);
    if (value === undefined) throw xmlFault(`malformed value '${text}' of '${name}' attribute of slice`, slice);
    return value;
  };
  return { offset: number(offset, 'offset'), size: number(size, 'size') };
}

/**
 * The `<seclabel>`s of a source.
 * @param inactive libvirt does not read `labelskip` with the parse flag INTERNAL (the bit of its domain parser's
 *   INACTIVE).
 */
function parseSecurityLabels(source: XmlElement, inactive: boolean): readonly SecurityLabel[] {
  const labels: SecurityLabel[] = [];
  for (const element of childrenNamed(source, 'seclabel')) {
    const model = property(element, 'model');
    if (model !== undefined && labels.some((label) => label.model === model)) {
      throw new Fault('VIR_ERR_XML_DETAIL', `seclabel for model ${model} is already provided`, element);
    }
    const relabel = booleanProperty(element, 'relabel') ?? true;
    const labelSkip = inactive ? false : (booleanProperty(element, 'labelskip') ?? false);
    const label = xpathString(element, 'label');
    if (label !== undefined && !relabel) {
      throw xmlFault(`Cannot specify a label if relabelling is turned off. model=${model ?? '<null>'}`, element);
    }
    labels.push({
      ...(model === undefined ? {} : { model }),
      // With labelskip libvirt forgets what relabel says: it prints the one or the other.
      relabel: labelSkip ? false : relabel,
      labelSkip,
      ...(label === undefined ? {} : { label }),
    });
  }
  return labels;
}

/** What any source can have below it, in the order in which libvirt checks it. */
export function parseExtras(source: XmlElement, inactive: boolean): SourceExtras {
  const auth = childNamed(source, 'auth');
  const parsedAuth = auth && parseAuth(auth);
  const encryption = childNamed(source, 'encryption');
  const parsedEncryption = encryption && parseEncryption(encryption);
  const reservations = childNamed(source, 'reservations');
  const parsedReservations = reservations && parseReservations(reservations);
  const slice = parseSlice(source);
  const securityLabels = parseSecurityLabels(source, inactive);
  return {
    ...(slice === undefined ? {} : { slice }),
    ...(securityLabels.length === 0 ? {} : { securityLabels }),
    ...(parsedAuth === undefined ? {} : { auth: parsedAuth }),
    ...(parsedEncryption === undefined ? {} : { encryption: parsedEncryption }),
    ...(parsedReservations === undefined ? {} : { reservations: parsedReservations }),
  };
}
