import type { DiskSnapshotPlan } from './disk-plan.ts';

/**
 * How a file stands that was to become a disk's active image. `empty`: nothing was ever written to it; `unreadable`: it is no
 * whole image; `open`: a process has it open.
 */
export type OverlayState = 'missing' | 'open' | 'empty' | 'unreadable' | 'data';

/** What is seen of a snapshot whose outcome is not recorded. */
export interface Seen {
  /** The QEMU that it was begun with still runs. */
  readonly sameProcess: boolean;
  /** Disks in whose chain the VM, as it runs now, has the new file. */
  readonly inChain: ReadonlySet<string>;
  /** By disk. */
  readonly files: ReadonlyMap<string, OverlayState>;
}

/**
 * Whether a snapshot was taken. All its disks are in one transaction, so one that has its new file tells for all. Where the QEMU
 * is gone the files tell: those that the guest has written to are its newest data, and those that it has not, no one misses.
 * `doubt`: not to be told now.
 */
export function diskVerdict(plan: DiskSnapshotPlan, seen: Seen): 'taken' | 'not-taken' | 'doubt' {
  if (seen.inChain.size > 0) return 'taken';
  if (plan.notTaken) return 'not-taken';
  // The transaction comes after the last of them was made and recorded.
  if (!plan.prepared && plan.disks.some(({ made }) => made === undefined)) return 'not-taken';
  if (seen.sameProcess) return 'not-taken';
  const states = plan.disks.map(({ disk }) => seen.files.get(disk));
  // One that is missing may be on a storage that is not mounted.
  if (states.some((state) => state !== 'empty' && state !== 'data')) return 'doubt';
  return states.includes('data') ? 'taken' : 'not-taken';
}

/** How large a file can be that was being made, in bytes: an empty image has some 200 KiB. */
const EMPTY_BYTES = 2 ** 20;
/** File systems stamp a file with a clock that lags behind, in milliseconds. */
const CLOCK_LAG_MS = 1000;

/** What is seen of a file that blockferry has made, or was about to make. */
export interface LeftFile {
  readonly state: OverlayState;
  /** The one that was made, by its mark; undefined where making it was not recorded. */
  readonly isOurs: boolean | undefined;
  /** Bytes. */
  readonly size: number;
  /** When it was made, in milliseconds since 1970. */
  readonly born: number;
}

/**
 * Why a file of a snapshot that was not taken stays; undefined where it may go. One whose making was not recorded is ours if it
 * came after the intent (nothing was there before) and holds nothing.
 * @param intendedAt milliseconds since 1970
 */
export function whyStays({ state, isOurs, size, born }: LeftFile, intendedAt: number): string | undefined {
  if (state === 'open') return 'a process has it open';
  if (state === 'data') return 'it holds data';
  if (isOurs === false) return 'it is not the file that blockferry made';
  if (isOurs) return state === 'empty' ? undefined : 'it cannot be read';
  const fresh = born + CLOCK_LAG_MS >= intendedAt && size <= EMPTY_BYTES;
  return fresh ? undefined : 'whether blockferry made it is not recorded';
}
