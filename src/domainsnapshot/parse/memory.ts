import type { SnapshotMemory } from '../model/snapshot.ts';
import { LOCATIONS } from '../model/values.ts';
import { property, type XmlElement } from '../xml/tree.ts';
import { xmlFault } from './fault.ts';
import { wordProperty } from './property.ts';

/**
 * `<memory>`, with the checks in libvirt's order: the words, file without external, external without file, offline, and
 * the absolute path last.
 *
 * @param element The first `<memory>`, if there is one.
 * @param offline The domain is not running, or the snapshot is of disks only.
 * @param redefine Fills in what an older libvirt did not write: `no` if offline, `internal` if not.
 */
export function parseMemory(
  element: XmlElement | undefined,
  options: { readonly offline: boolean; readonly redefine: boolean },
): SnapshotMemory | undefined {
  const file = element && property(element, 'file');
  const given = element && wordProperty(element, 'snapshot', LOCATIONS);
  const filledIn = options.redefine ? (options.offline ? 'no' : 'internal') : undefined;
  const location = given ?? (file === undefined ? filledIn : 'external');
  if (location === undefined) return undefined;
  if (element === undefined) return { location: location === 'no' ? 'no' : 'internal' };
  if (location === 'manual') throw xmlFault("'manual' memory snapshot mode not supported", element);
  if (file !== undefined && location !== 'external') {
    throw xmlFault(`memory filename '${file}' requires external snapshot`, element);
  }
  if (location === 'external' && file === undefined) {
    throw xmlFault('external memory snapshots require a filename', element);
  }
  if (options.offline && location !== 'no') {
    throw xmlFault('memory state cannot be saved with offline or disk-only snapshot', element);
  }
  if (file !== undefined && !file.startsWith('/')) {
    throw xmlFault(`memory snapshot file path (${file}) must be absolute`, element);
  }
  return { location, ...(file === undefined ? {} : { file }) };
}
