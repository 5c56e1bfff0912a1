import { alignDisks } from '../align/align.ts';
import type { FileSystem } from '../align/generated-name.ts';
import { DomainSnapshotError } from '../errors.ts';
import { isExternal, type Snapshot } from '../model/snapshot.ts';
import { normalUuid } from '../model/uuid.ts';
import { xpathString } from '../xml/tree.ts';
import { checkSameDomain } from './abi.ts';
import { nameOf, parentLinks, type SnapshotList } from './list.ts';

/** What redefining needs to know. */
export interface RedefineOptions {
  /** Uuid of the domain whose snapshots these are. */
  readonly domainUuid: string;
  /** The flag DISK_ONLY of the call. */
  readonly diskOnly?: boolean;
  /** The flag CURRENT of the call: the snapshot becomes current. */
  readonly current?: boolean;
  readonly files: FileSystem;
}

function refuse(text: string): DomainSnapshotError {
  return new DomainSnapshotError('VIR_ERR_INVALID_ARG', text);
}

/** The parent must be there, and must not be below the snapshot. */
function checkParent(list: SnapshotList, snapshot: Snapshot): void {
  const { parent } = snapshot;
  if (parent === undefined) return;
  const name = nameOf(snapshot);
  if (parent === name) throw refuse(`cannot set moment ${name} as its own parent`);
  if (!list.snapshots.some((other) => other.name === parent)) {
    throw refuse(`parent ${parent} for moment ${name} not found`);
  }
  const links = parentLinks(list);
  for (let above: string | undefined = parent; above !== undefined; above = links.get(above)) {
    if (links.get(above) === name) throw refuse(`parent ${above} would create cycle to ${name}`);
  }
}

function isOnline(snapshot: Snapshot): boolean {
  return snapshot.state === 'running' || snapshot.state === 'paused';
}

/** What a redefined snapshot must have in common with the one of its name. */
function checkReplaced(existing: Snapshot, snapshot: Snapshot): void {
  const name = nameOf(snapshot);
  if (isOnline(existing) !== isOnline(snapshot)) {
    throw refuse(`cannot change between online and offline snapshot state in snapshot ${name}`);
  }
  if ((existing.state === 'disk-snapshot') !== (snapshot.state === 'disk-snapshot')) {
    throw refuse(`cannot change between disk only and full system in snapshot ${name}`);
  }
  if (existing.domain && snapshot.domain) checkSameDomain(existing.domain, snapshot.domain);
}

/**
 * Puts back the metadata of a snapshot, or replaces it (the flag REDEFINE of create): checks in libvirt's order, then
 * aligns the disks, then replaces or inserts. A replaced snapshot keeps its children, and its domain where the new one
 * has none. Current changes only when that is asked for.
 *
 * @param snapshot Parsed with REDEFINE.
 * @throws DomainSnapshotError VIR_ERR_INVALID_ARG for the relations, VIR_ERR_CONFIG_UNSUPPORTED for disks and domain.
 */
export function redefineSnapshot(list: SnapshotList, snapshot: Snapshot, options: RedefineOptions): SnapshotList {
  const name = nameOf(snapshot);
  checkParent(list, snapshot);
  const diskSnapshot = snapshot.state === 'disk-snapshot';
  if (options.diskOnly === true && !diskSnapshot) {
    throw refuse(`disk-only flag for snapshot ${name} requires disk-snapshot state`);
  }
  if (snapshot.domain && normalUuid(xpathString(snapshot.domain, 'uuid') ?? '') !== normalUuid(options.domainUuid)) {
    throw refuse(`definition for snapshot ${name} must use uuid ${options.domainUuid}`);
  }
  const existing = list.snapshots.find((other) => other.name === name);
  if (existing) checkReplaced(existing, snapshot);
  const domain = snapshot.domain ?? existing?.domain;
  const aligned = alignDisks(snapshot, {
    defaultLocation: diskSnapshot || isExternal(snapshot) ? 'external' : 'internal',
    uniformInternal: true,
    ...(existing?.domain ? { existingDomain: existing.domain } : {}),
    files: options.files,
  });
  const stored = domain === undefined ? aligned : { ...aligned, domain };
  const snapshots = existing
    ? list.snapshots.map((other) => (other === existing ? stored : other))
    : [...list.snapshots, stored];
  return options.current === true ? { snapshots, current: name } : { ...list, snapshots };
}
