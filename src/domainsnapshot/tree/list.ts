import { DomainSnapshotError } from '../errors.ts';
import type { Snapshot } from '../model/snapshot.ts';
import type { ParsedSnapshot } from '../parse/snapshot.ts';

/**
 * The snapshots of one domain. The tree is in their parents' names; whose parent is not there, or is below it, counts as
 * a root.
 */
export interface SnapshotList {
  readonly snapshots: readonly Snapshot[];
  /** Name of the current snapshot. */
  readonly current?: string;
}

/** The list of a domain without snapshots. */
export const EMPTY_LIST: SnapshotList = { snapshots: [] };

/** The parent of each snapshot by name; undefined = a root. */
export type ParentLinks = ReadonlyMap<string, string | undefined>;

/** What is wrong with a snapshot's parent, when the list was read from files. */
export interface BrokenLink {
  readonly snapshot: string;
  readonly parent: string;
  readonly problem: 'missing' | 'cycle';
}

interface Linked {
  readonly links: ParentLinks;
  readonly broken: readonly BrokenLink[];
}

/** Links one snapshot after another; of those in a cycle, the last to be linked becomes a root. */
function link(snapshots: readonly Snapshot[]): Linked {
  const names = new Set(snapshots.map(nameOf));
  const links = new Map<string, string | undefined>();
  const broken: BrokenLink[] = [];
  for (const snapshot of snapshots) {
    const name = nameOf(snapshot);
    const { parent } = snapshot;
    if (parent === undefined) links.set(name, undefined);
    else if (!names.has(parent)) broken.push({ snapshot: name, parent, problem: 'missing' });
    else if (isAtOrAbove(links, name, parent)) broken.push({ snapshot: name, parent, problem: 'cycle' });
    else links.set(name, parent);
  }
  return { links, broken };
}

/** Whether a name is met on the way from another one up to its root. */
function isAtOrAbove(links: ParentLinks, wanted: string, from: string): boolean {
  for (let name: string | undefined = from; name !== undefined; name = links.get(name)) {
    if (name === wanted) return true;
  }
  return false;
}

/** The parent of each snapshot. */
export function parentLinks(list: SnapshotList): ParentLinks {
  return link(list.snapshots).links;
}

/** The name of a snapshot; one in a list always has one. */
export function nameOf(snapshot: Snapshot): string {
  return snapshot.name ?? '';
}

/** @throws DomainSnapshotError VIR_ERR_NO_DOMAIN_SNAPSHOT */
export function findSnapshot(list: SnapshotList, name: string): Snapshot {
  const found = list.snapshots.find((snapshot) => snapshot.name === name);
  if (found) return found;
  throw new DomainSnapshotError('VIR_ERR_NO_DOMAIN_SNAPSHOT', `no domain snapshot with matching name '${name}'`);
}

/** @throws DomainSnapshotError VIR_ERR_NO_DOMAIN_SNAPSHOT */
export function currentSnapshot(list: SnapshotList): Snapshot {
  if (list.current !== undefined) return findSnapshot(list, list.current);
  throw new DomainSnapshotError('VIR_ERR_NO_DOMAIN_SNAPSHOT', 'the domain does not have a current snapshot');
}

/** @throws DomainSnapshotError VIR_ERR_NO_DOMAIN_SNAPSHOT: no such snapshot, or it is a root. */
export function parentOf(list: SnapshotList, name: string): Snapshot {
  findSnapshot(list, name);
  const parent = parentLinks(list).get(name);
  if (parent !== undefined) return findSnapshot(list, parent);
  throw new DomainSnapshotError('VIR_ERR_NO_DOMAIN_SNAPSHOT', `snapshot '${name}' does not have a parent`);
}

/** The children of a snapshot (undefined: the roots), in the order of the list. */
export function childrenOf(list: SnapshotList, name: string | undefined): readonly Snapshot[] {
  const links = parentLinks(list);
  return list.snapshots.filter((snapshot) => links.get(nameOf(snapshot)) === name);
}

/** All snapshots below one (undefined: all), each parent before its children. */
export function descendantsOf(list: SnapshotList, name: string | undefined): readonly Snapshot[] {
  const links = parentLinks(list);
  const children = Map.groupBy(list.snapshots, (snapshot) => links.get(nameOf(snapshot)));
  const found: Snapshot[] = [];
  const waiting = [...(children.get(name) ?? [])].reverse();
  for (let next = waiting.pop(); next !== undefined; next = waiting.pop()) {
    found.push(next);
    waiting.push(...[...(children.get(nameOf(next)) ?? [])].reverse());
  }
  return found;
}

/**
 * Adds a snapshot that was just taken: its parent is the current one, and it becomes current.
 * @throws DomainSnapshotError VIR_ERR_OPERATION_FAILED: the name is taken.
 */
export function addSnapshot(list: SnapshotList, snapshot: Snapshot): SnapshotList {
  const name = nameOf(snapshot);
  if (list.snapshots.some((other) => other.name === name)) {
    throw new DomainSnapshotError('VIR_ERR_OPERATION_FAILED', `domain moment ${name} already exists`);
  }
  const { parent: _parent, ...rest } = snapshot;
  const added = list.current === undefined ? rest : { ...rest, parent: list.current };
  return { snapshots: [...list.snapshots, added], current: name };
}

/** Makes a snapshot current, as reverting to it does. */
export function setCurrent(list: SnapshotList, name: string): SnapshotList {
  return { ...list, current: nameOf(findSnapshot(list, name)) };
}

/** What to delete: the snapshot alone (its children move up), it and all below it, or only what is below it. */
export type DeleteScope = 'one' | 'children' | 'children-only';

/**
 * Deletes from the list and decides what is current afterwards: the parent of a current snapshot that is gone, or the
 * named one itself when only what is below it was deleted.
 * @throws DomainSnapshotError VIR_ERR_NO_DOMAIN_SNAPSHOT
 */
export function deleteSnapshot(list: SnapshotList, name: string, scope: DeleteScope = 'one'): SnapshotList {
  findSnapshot(list, name);
  const parent = parentLinks(list).get(name);
  const below = scope === 'one' ? [] : descendantsOf(list, name).map(nameOf);
  const gone = new Set(scope === 'children-only' ? below : [name, ...below]);
  const snapshots = list.snapshots
    .filter((snapshot) => !gone.has(nameOf(snapshot)))
    .map((snapshot) => (scope === 'one' && snapshot.parent === name ? withParent(snapshot, parent) : snapshot));
  const kept = list.current !== undefined && !gone.has(list.current);
  const current = kept ? list.current : scope === 'children-only' ? name : parent;
  return list.current === undefined || current === undefined ? { snapshots } : { snapshots, current };
}

function withParent(snapshot: Snapshot, parent: string | undefined): Snapshot {
  const { parent: _parent, ...rest } = snapshot;
  return parent === undefined ? rest : { ...rest, parent };
}

/** A list that was read from stored metadata, and what was wrong with it. */
export interface LoadedList {
  readonly list: SnapshotList;
  readonly broken: readonly BrokenLink[];
  /** More than one said that it is current; the last one counts. */
  readonly severalCurrent: boolean;
}

/** Makes a list of stored metadata, read with REDEFINE and INTERNAL. With a broken link nothing is current. */
export function loadSnapshots(stored: readonly ParsedSnapshot[]): LoadedList {
  const snapshots = stored.map(({ snapshot }) => snapshot);
  const { broken } = link(snapshots);
  const marked = stored.filter((each) => each.current);
  const current = broken.length > 0 ? undefined : marked.at(-1)?.snapshot.name;
  return {
    list: current === undefined ? { snapshots } : { snapshots, current },
    broken,
    severalCurrent: marked.length > 1,
  };
}
