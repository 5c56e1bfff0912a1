import { formatSize, messageOf } from '../../base/index.ts';
import type { DiskLimits } from '../../vm/index.ts';
import type { Run } from '../run.ts';

/** The least that a slowed guest may write to a disk, in bytes per second: it must go on, however slowly. */
const LEAST = 16 * 2 ** 10;
/**
 * How much slower it becomes each time. A mirror copies 64 KiB for each write of 4 KiB, so what the guest may write is far
 * less than what the mirror copies.
 */
const STEP = 4;

const ROLE = 'guest-slowed';
const nameOf = ({ plan }: Run, disk: string): string => `slowed-${plan.id}-${disk}`;

/** Disks whose guest this migration has slowed and not let go since, with the limits that they had before. */
function slowed({ journal, plan }: Run): ReadonlyMap<string, DiskLimits> {
  const entries = journal.ledger(plan.id, { kind: 'job', states: ['planned', 'made'] });
  return new Map(
    entries.filter(({ role }) => role === ROLE).map(({ disk = '', detail }) => [disk, detail as DiskLimits] as const),
  );
}

/**
 * Slows the guest's writes to disks whose mirrors do not catch up: to a part of what each mirror copies, and to a part of
 * that when it was not enough. The limits that were there before are in the ledger first.
 * @param rates what the mirror of each such disk copies, in bytes per second
 * @returns whether something was slowed: some VMs cannot be, and the user has to allow it
 */
export async function slowGuest(run: Run, rates: ReadonlyMap<string, number>): Promise<boolean> {
  const { plan, vm, ledger, journal } = run;
  const { brake } = vm;
  if (brake === undefined || plan.request.slowGuest !== true) return false;
  let done = false;
  for (const [disk, rate] of rates) {
    const now = await brake.limits(disk);
    const before = slowed(run).get(disk);
    if (before === undefined) {
      journal.ledgerPlan(plan.id, { kind: 'job', name: nameOf(run, disk), role: ROLE, disk, detail: now });
    }
    // Once slowed it is the limit that counts: a mirror that has little to copy says little of what the target takes.
    const limit = Math.max(LEAST, Math.floor((before === undefined ? rate : limitOf(now)) / STEP));
    if (limit >= limitOf(now)) continue;
    await brake.setLimits(disk, now.total > 0 ? { ...now, total: limit } : { ...now, write: limit });
    ledger.made('job', nameOf(run, disk));
    done = true;
    run.emit({
      type: 'warning',
      message: `the mirror of ${disk} does not catch up: the guest may write ${formatSize(limit)} a second to it until the swap (--slow-guest)`,
    });
  }
  return done;
}

function limitOf({ total, write }: DiskLimits): number {
  return total || write || Number.POSITIVE_INFINITY;
}

/** Gives the guest the limits back that it had before, whoever has slowed it. A VM that was not slowed is not asked. */
export async function letGuestGo(run: Run): Promise<void> {
  const { vm, ledger } = run;
  for (const [disk, before] of slowed(run)) {
    await vm.brake?.setLimits(disk, before);
    ledger.gone('job', nameOf(run, disk));
    run.emit({ type: 'warning', message: `the guest's writes to ${disk} are limited as before again` });
  }
}

/** The same where it must not hide what went wrong: whoever goes on with the migration tries it again. */
export async function tryLetGuestGo(run: Run): Promise<void> {
  try {
    await letGuestGo(run);
  } catch (error) {
    run.emit({ type: 'warning', message: `the guest may still be slowed down: ${messageOf(error)}` });
  }
}
