import type { Clock } from '../../base/index.ts';

/** The jobs of a group: the mirrors of all disks that move, or the folds of all their overlays. */
export interface Group {
  /** Why the swap must not be tried now, found by looking: a job not ready, a target with an error. */
  check(): Promise<void>;
  /** Makes durable what the target holds so far, so that little is left to do while the guest's I/O is held. */
  flush(): Promise<void>;
  /**
   * Whether the storages answer, asked last of all: from here on QEMU would wait for one that hangs, and the guest for QEMU.
   * The answer is milliseconds old when it counts; `hold` has a limit of its own.
   */
  ask(): Promise<void>;
  /** `job-complete` on every job; resolves when all are `pending`: both sides are identical and the guest's I/O is held. */
  hold(): Promise<void>;
  /**
   * `blockdev-reopen` puts every mirror on the target's own chain, in one command. Only while the I/O is held: QEMU 10.0
   * crashed, or lost writes without a word, when a mirror under load was reopened before (`ready`, write-blocking).
   */
  attach(): Promise<void>;
  /** `job-finalize` on every job: the swap, after which the guest's I/O goes on. */
  release(): Promise<void>;
  /** Waits until the jobs are over and takes them away. */
  settle(): Promise<void>;
  /** Ends every job without a swap: the guest goes on where it was. Does not throw: undoing the step tries it again. */
  cancel(): Promise<void>;
}

/** The durable line after which the other side is the truth. */
export interface CommitRecord {
  /** Does beforehand what would take time while the guest's I/O is held. Disposed when it goes on. */
  open(): OpenRecord;
}

export interface OpenRecord extends Disposable {
  /** Returns when it is on disk. */
  write(): void;
  /** After a write that failed, so that nobody knows whether it is on disk: makes sure that it does not count. */
  revoke(reason: string): Promise<void>;
}

/**
 * The two-phase swap of a whole group, and why it is safe:
 *
 *   1. Everything slow is done first.
 *   2. Every job drains its disk and stops in `pending`. From the first one on, guest I/O is held.
 *   3. All are pending: both sides are identical. The mirrors are put on the target's chain, so that it stands alone.
 *   4. The commit record is written and synced.
 *   5. Every job is finalized, and the guest's I/O goes on at the new side.
 *
 * Whoever dies before 4: the old side is the truth, for every disk; jobs that live are cancelled. After it: the new side
 * is, for every disk. The first finalize is the point of no return, so it never comes before the record, and nothing is
 * cancelled after it.
 *
 * @returns how long the guest's I/O was held, in milliseconds
 * @throws whatever failed. Before the record, the group is cancelled and the guest goes on at the old side. After it,
 *   the new side is the truth, and `release` is to be tried again.
 */
export async function pivot(group: Group, commit: CommitRecord, clock: Clock): Promise<number> {
  await group.check();
  await group.flush();
  using record = commit.open();
  await group.ask();

  const held = clock.monotonic();
  try {
    await group.hold();
    await group.attach();
  } catch (error) {
    await group.cancel();
    throw error;
  }
  try {
    record.write();
  } catch (error) {
    try {
      await record.revoke('writing it failed');
    } finally {
      await group.cancel();
    }
    throw error;
  }
  await group.release();
  const ms = clock.monotonic() - held;
  await group.settle();
  return ms;
}
