import { ferryError, isFerryError } from '../base/index.ts';
import { isQmpCommandError, type QmpClient } from '../qmp/index.ts';
import type { CopyControl, CopyLimits } from './copy-control.ts';
import { Wakeup } from './wakeup.ts';

/** One copy by a mirror job of qemu-storage-daemon, between two files (or block devices) and not between formats. */
export interface MirrorCopy {
  /** Unique in the daemon; job and nodes are named after it. */
  readonly id: string;
  readonly source: string;
  readonly sourceIsBlockDevice: boolean;
  /** Exists, and has the length that is copied. */
  readonly target: string;
  /** Bytes to copy from the start: a multiple of the block size of both file systems. */
  readonly length: number;
  readonly control: CopyControl;
  /** Bytes done and to do, holes included; the second grows at first. */
  readonly onProgress: (copied: number, total: number) => void;
  readonly signal: AbortSignal;
}

/** How often a running job is asked how far it is. Events tell of its changes of state. */
const ASK_MS = 250;
/**
 * What a job has under way at most. QEMU fills this before its limit of speed begins to count: with its default of 16 MiB
 * a slow copy moves in jumps. Down to 2 MiB no copy was slower.
 */
const IN_FLIGHT = 4 * 2 ** 20;

/**
 * Copies by `blockdev-mirror` from a read-only node. Nobody writes to the source, so the job is ready when all of it is
 * there, and `block-job-cancel` then ends it as a plain copy. Holes stay holes: the job zeroes the target first
 * (which `discard=unmap` makes a punched hole) and then copies what is allocated.
 *
 * The target bypasses the page cache where its file system can: a limited copy then writes at its limit, and does not
 * end in one long flush that stalls the guest.
 *
 * QEMU's own locks keep other QEMUs from writing to the target.
 * @throws FerryError COPY_FAILED, IMAGE_IN_USE; those of a lost monitor; the signal's reason (the job goes on: the daemon
 *   must be killed then)
 */
export async function mirrorCopy(qmp: QmpClient, copy: MirrorCopy): Promise<void> {
  const { id, source, target, signal } = copy;
  const wakeup = new Wakeup();
  using share = copy.control.join(wakeup.wake);
  const onAbort = (): void => wakeup.wake();
  signal.addEventListener('abort', onAbort);
  using events = qmp.listen((event) => event.event === 'JOB_STATUS_CHANGE' && event.data.id === id);
  void wakeOnEach(events, wakeup);
  try {
    while (share.limits.paused) {
      signal.throwIfAborted();
      await wakeup.wait(ASK_MS);
    }
    await addNodes(qmp, copy);
    const applied: Applied = { bytesPerSecond: share.limits.bytesPerSecond, paused: false };
    await qmp.execute('blockdev-mirror', {
      'job-id': id,
      device: `${id}-source`,
      target: `${id}-target`,
      sync: 'full',
      speed: applied.bytesPerSecond,
      'on-source-error': 'report',
      'on-target-error': 'report',
      'buf-size': IN_FLIGHT,
      granularity: granularityFor(copy.length),
      'auto-dismiss': false,
    });
    while (true) {
      signal.throwIfAborted();
      await apply(qmp, id, applied, share.limits);
      const job = (await qmp.execute('query-jobs')).find((candidate) => candidate.id === id);
      if (!job) throw ferryError('COPY_FAILED', { source, target, reason: 'the job is gone' });
      copy.onProgress(job['current-progress'], job['total-progress']);
      if (job.status === 'ready') await ignoreRefusal(qmp.execute('block-job-cancel', { device: id }));
      else if (job.status === 'concluded') {
        if (job.error !== undefined) throw ferryError('COPY_FAILED', { source, target, reason: job.error });
        break;
      }
      await wakeup.wait(ASK_MS);
    }
    await qmp.execute('job-dismiss', { id });
    await qmp.execute('blockdev-del', { 'node-name': `${id}-target` });
    await qmp.execute('blockdev-del', { 'node-name': `${id}-source` });
  } finally {
    signal.removeEventListener('abort', onAbort);
  }
}

async function wakeOnEach(events: AsyncIterable<unknown>, wakeup: Wakeup): Promise<void> {
  try {
    for await (const _ of events) wakeup.wake();
  } catch {
    // The connection is gone, which the next command tells better.
    wakeup.wake();
  }
}

/**
 * Data and holes are told apart in pieces of this many bytes: with QEMU's default of 64 KiB, 4 KiB of data every 64 KiB
 * came to occupy 16 times as much on the target. The job's bitmap takes one bit for each: 32 MiB per TiB of image.
 */
function granularityFor(length: number): number {
  return length <= 4 * 2 ** 40 ? 4096 : 65_536;
}

interface Applied {
  bytesPerSecond: number;
  paused: boolean;
}

/** Brings the job in line with the limits. A job that has just ended refuses, and that is all right. */
async function apply(qmp: QmpClient, id: string, applied: Applied, wanted: CopyLimits): Promise<void> {
  if (wanted.bytesPerSecond !== applied.bytesPerSecond) {
    applied.bytesPerSecond = wanted.bytesPerSecond;
    await ignoreRefusal(qmp.execute('block-job-set-speed', { device: id, speed: wanted.bytesPerSecond }));
  }
  if (wanted.paused !== applied.paused) {
    applied.paused = wanted.paused;
    await ignoreRefusal(qmp.execute(wanted.paused ? 'job-pause' : 'job-resume', { id }));
  }
}

async function ignoreRefusal(work: Promise<unknown>): Promise<void> {
  try {
    await work;
  } catch (error) {
    if (!isQmpCommandError(error)) throw error;
  }
}

async function addNodes(
  qmp: QmpClient,
  { id, source, sourceIsBlockDevice, target, length }: MirrorCopy,
): Promise<void> {
  await addNode(source, async () => {
    await qmp.execute('blockdev-add', {
      driver: 'raw',
      'node-name': `${id}-source`,
      'read-only': true,
      size: length,
      // Without a lock: a daemon that was killed keeps its locks as long as its target hangs, and the VM, on its way back,
      // could not write to the source meanwhile. Who has it open for writing was looked at before.
      file: { driver: sourceIsBlockDevice ? 'host_device' : 'file', filename: source, locking: 'off' },
    });
  });
  const node = { driver: 'file', 'node-name': `${id}-target`, filename: target, discard: 'unmap' } as const;
  await addNode(target, async () => {
    try {
      await qmp.execute('blockdev-add', { ...node, cache: { direct: true } });
    } catch (error) {
      // tmpfs (before Linux 6.6) and some FUSE file systems know no O_DIRECT.
      if (!isQmpCommandError(error) || isLockError(error)) throw error;
      await qmp.execute('blockdev-add', node);
    }
  });
}

async function addNode(path: string, add: () => Promise<void>): Promise<void> {
  try {
    await add();
  } catch (error) {
    if (!isFerryError(error, 'QMP_COMMAND')) throw error;
    if (isLockError(error)) throw ferryError('IMAGE_IN_USE', { path }, { cause: error });
    throw ferryError('IMAGE_UNREADABLE', { path, reason: String(error.fields['desc']) }, { cause: error });
  }
}

function isLockError(error: Error): boolean {
  return /Failed to get (?:shared )?"[^"]*" lock|Failed to lock byte/.test(error.message);
}
