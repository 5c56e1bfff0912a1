import { readXml } from '../xml/document.ts';
import { childNamed, elementsOf, property, select, xpathAttribute, xpathString } from '../xml/tree.ts';
import { signed64 } from './number.ts';

/** What a list of snapshots shows of one, read without checking anything else, as virsh does. */
export interface SnapshotSummary {
  readonly state?: string;
  /** Seconds since 1970; absent = not known. */
  readonly creationTime?: bigint;
  readonly parent?: string;
  /** Its memory or one of its disks is outside of the images. */
  readonly external: boolean;
  /** The names of the disks that have a mirror. */
  readonly mirrored: readonly string[];
}

/** @throws DomainSnapshotError VIR_ERR_XML_DETAIL: not well-formed */
export function summarizeSnapshot(xml: string): SnapshotSummary {
  const { root } = readXml(xml, { doctype: 'internal' });
  const state = xpathString(root, 'state');
  const creationTime = signed64(xpathString(root, 'creationTime') ?? '');
  const parent = xpathString(root, 'parent', 'name');
  const disks = select(root, 'disks').flatMap(elementsOf);
  const parts = [...select(root, 'memory'), ...disks];
  return {
    ...(state === undefined ? {} : { state }),
    ...(creationTime === undefined ? {} : { creationTime }),
    ...(parent === undefined ? {} : { parent }),
    mirrored: disks.filter((disk) => childNamed(disk, 'mirror')).map((disk) => property(disk, 'name') ?? ''),
    external: parts.some((part) => xpathAttribute(part, 'snapshot') === 'external'),
  };
}
