import { emptySource, pathOf, type StorageSource } from '../model/source.ts';
import { hasPathOrFormat, type SnapshotDisk } from '../model/snapshot.ts';
import {
  DISK_FORMATS,
  isOneOf,
  LOCATIONS,
  SOURCE_TYPES,
  type SourceType,
  UNSUPPORTED_SOURCE_TYPES,
} from '../model/values.ts';
import { childNamed, property, select, textOf, type XmlElement, xpathAttributeAt } from '../xml/tree.ts';
import { Fault, xmlFault } from './fault.ts';
import { type MirrorForm, parseMirror } from './mirror.ts';
import { MOST_BYTES, unitFactor, unsigned64 } from './number.ts';
import { wordProperty } from './property.ts';
import { parseSource, type SourceContext } from './source.ts';

/** How a disk is read. */
export interface DiskContext extends SourceContext {
  readonly mirror: MirrorForm;
}

function parseName(element: XmlElement): string {
  const name = property(element, 'name');
  if (name === undefined) throw new Fault('VIR_ERR_INTERNAL_ERROR', 'missing name from disk snapshot element', element);
  return name;
}

function parseType(element: XmlElement): SourceType {
  const words = [...SOURCE_TYPES, ...UNSUPPORTED_SOURCE_TYPES];
  const type = wordProperty(element, 'type', words) ?? 'file';
  if (!isOneOf(SOURCE_TYPES, type)) throw xmlFault(`unsupported disk snapshot type '${type}'`, element);
  return type;
}

function parseFormat(element: XmlElement): string | undefined {
  const format = xpathAttributeAt(element, ['driver'], 'type');
  if (format !== undefined && !isOneOf(DISK_FORMATS, format)) {
    throw new Fault('VIR_ERR_CONFIG_UNSUPPORTED', `unknown disk snapshot driver '${format}'`, element);
  }
  return format;
}

const CACHE_SIZE = './driver/metadata_cache/max_size';

/** The size of the metadata cache in bytes; 0 and an empty element mean the default. */
function parseCacheSize(element: XmlElement): bigint | undefined {
  const size = select(element, 'driver', 'metadata_cache', 'max_size')[0];
  const text = size === undefined ? '' : textOf(size);
  if (size === undefined || text === '') return undefined;
  const value = unsigned64(text);
  if (value === undefined) throw xmlFault(`Invalid value '${text}' for element or attribute '${CACHE_SIZE}'`, size);
  // XPath's first unit of any max_size, which need not be this one's.
  const unit = xpathAttributeAt(element, ['driver', 'metadata_cache', 'max_size'], 'unit') ?? '';
  const factor = unitFactor(unit);
  if (factor === undefined) throw new Fault('VIR_ERR_INVALID_ARG', `unknown suffix '${unit}'`, size);
  if (value * factor > MOST_BYTES) throw new Fault('VIR_ERR_OVERFLOW', `value too large: ${value}${unit}`, size);
  return value === 0n ? undefined : value * factor;
}

function checkAbsolute(source: StorageSource, element: XmlElement): void {
  const path = source.type === 'network' ? undefined : pathOf(source);
  if (path !== undefined && !path.startsWith('/')) {
    throw xmlFault(`disk snapshot image path '${path}' must be absolute`, element);
  }
}

/**
 * One child of `<disks>`, whatever it is called (`virDomainSnapshotDiskDefParseXML`). Duplicates, a source with a
 * location other than external, and the like are found by align, not here.
 */
export function parseDisk(element: XmlElement, context: DiskContext): SnapshotDisk {
  const name = parseName(element);
  const given = wordProperty(element, 'snapshot', LOCATIONS);
  const type = parseType(element);
  const deleteInProgress = context.status && childNamed(element, 'snapshotDeleteInProgress') !== undefined;
  const sourceElement = childNamed(element, 'source');
  const source = sourceElement ? parseSource(sourceElement, type, context) : emptySource(type);
  const format = parseFormat(element);
  const metadataCacheSize = parseCacheSize(element);
  checkAbsolute(source, sourceElement ?? element);
  const mirrorElement = childNamed(element, 'mirror');
  const implied = hasPathOrFormat({ source, ...(format === undefined ? {} : { format }) }) || mirrorElement;
  const location = given ?? (implied ? 'external' : undefined);
  const mirror =
    mirrorElement &&
    parseMirror(
      mirrorElement,
      { disk: name, external: location === 'external', form: context.mirror, lenient: false },
      context,
    );
  return {
    name,
    ...(location === undefined ? {} : { location }),
    source,
    ...(format === undefined ? {} : { format }),
    ...(metadataCacheSize === undefined ? {} : { metadataCacheSize }),
    ...(deleteInProgress ? { deleteInProgress } : {}),
    ...(mirror === undefined ? {} : { mirror }),
  };
}

/** A disk as the patch of 2012 reads it: a file and a format of any name, and nothing is asked of the path. */
export function parseDisk2012(element: XmlElement, context: DiskContext): SnapshotDisk {
  const name = parseName(element);
  const snapshot = property(element, 'snapshot');
  const given = snapshot === undefined ? undefined : LOCATIONS.find((word) => word === snapshot && word !== 'manual');
  if (snapshot !== undefined && given === undefined) {
    throw new Fault('VIR_ERR_INTERNAL_ERROR', `unknown disk snapshot setting '${snapshot}'`, element);
  }
  // The first element that has the attribute counts, not the first element.
  const path = select(element, 'source')
    .map((each) => property(each, 'file'))
    .find((value) => value !== undefined);
  const format = select(element, 'driver')
    .map((each) => property(each, 'type'))
    .find((value) => value !== undefined);
  const mirrorElement = childNamed(element, 'mirror');
  const implied = path !== undefined || format !== undefined || mirrorElement !== undefined;
  const location = given ?? (implied ? 'external' : undefined);
  const mirror =
    mirrorElement &&
    parseMirror(
      mirrorElement,
      { disk: name, external: location === 'external', form: context.mirror, lenient: true },
      context,
    );
  return {
    name,
    ...(location === undefined ? {} : { location }),
    source: { type: 'file', ...(path === undefined ? {} : { path }) },
    ...(format === undefined ? {} : { format }),
    ...(mirror === undefined ? {} : { mirror }),
  };
}
