/** What the journal says of a migration whose VM is gone. */
export interface OfflineFacts {
  /** Whether the snapshot was begun: only then can an overlay hold anything. */
  readonly snapshotBegun: boolean;
  readonly committed: {
    readonly pivot: boolean;
    /** The target's overlay was folded: it is stale, and would hide newer writes. */
    readonly fold: boolean;
    /** The source's overlay was folded back: likewise. */
    readonly foldBack: boolean;
  };
  /** Whether the chain is to be as deep as it was. */
  readonly fold: boolean;
}

/** Where the newest data is, and what is to be done so that the VM can be started from it. */
export interface OfflineVerdict {
  readonly truth: 'source' | 'target';
  /** `merge`: into the image below it; `drop`: it is empty or stale; `keep`: the VM is to be started from it. */
  readonly overlay: 'merge' | 'drop' | 'keep';
}

/**
 * The crash rule when QEMU itself is gone: before the commit record the source has every acknowledged write of every disk,
 * after it the target has. On either side they are in the overlay until its fold has a record of its own.
 */
export function offlineVerdict({ snapshotBegun, committed, fold }: OfflineFacts): OfflineVerdict {
  if (!committed.pivot) {
    return { truth: 'source', overlay: snapshotBegun && !committed.foldBack ? 'merge' : 'drop' };
  }
  if (committed.fold) return { truth: 'target', overlay: 'drop' };
  return { truth: 'target', overlay: fold ? 'merge' : 'keep' };
}
