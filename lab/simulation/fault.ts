import type { Random } from '../torture/random.ts';

/**
 * `kill-…`: kill -9 of the manager, of QEMU, of both; of libvirtd, alone or with one or both of them; the host loses its power. `error`: a command, a file or the journal
 * refuses, and nothing was done, or all was. `unknown-outcome`: the monitor's connection breaks before or after the
 * command was executed; a commit of the journal fails so that nobody knows. `full`: a storage is about to fill. `stall`: no
 * job gets further for some time. `hang`: the target answers nothing for some time, neither with data nor with an error.
 * `target-error`: a job meets an error. `spoil`: a copy is not what was written. The rest is
 * what a user asks for.
 */
export type FaultKind =
  | 'kill-manager'
  | 'kill-qemu'
  | 'kill-both'
  | 'kill-power'
  | 'kill-libvirtd'
  | 'kill-libvirtd-manager'
  | 'kill-libvirtd-qemu'
  | 'kill-all'
  | 'error'
  | 'unknown-outcome'
  | 'full'
  | 'stall'
  | 'hang'
  | 'target-error'
  | 'spoil'
  | 'abort'
  | 'leave'
  | 'pause'
  | 'resume';

/** Something that goes wrong at one effect. */
export interface Fault {
  readonly kind: FaultKind;
  /** At which effect, counted from the fault before this one (or from the beginning). */
  readonly after: number;
  /** Only effects with this in their name count. */
  readonly at?: string;
  readonly when: 'before' | 'after';
}

const KINDS: readonly [FaultKind, ...FaultKind[]] = [
  ...(['kill-manager', 'kill-manager', 'kill-manager', 'kill-manager', 'kill-qemu', 'kill-qemu', 'kill-both'] as const),
  ...(['kill-power', 'error', 'error', 'error', 'unknown-outcome', 'unknown-outcome', 'unknown-outcome'] as const),
  ...(['full', 'stall', 'target-error', 'spoil', 'abort', 'abort', 'leave', 'pause'] as const),
];

/** Effects that are met more often than their number says. */
const CRITICAL: readonly [string, ...string[]] = [
  ...(['COMMIT RECORD pivot commit', 'COMMIT RECORD fold commit', 'COMMIT RECORD fold-back commit'] as const),
  ...(['job-complete', 'blockdev-reopen', 'job-finalize', 'job-cancel', 'job-dismiss', 'transaction', 'stop'] as const),
  ...(['blockdev-mirror', 'block-commit', 'blockdev-del', 'foldOffline', 'renameFile', 'rewriteBacking'] as const),
];

/** The same for VMs of libvirt. */
const DOMAIN_KINDS: readonly [FaultKind, ...FaultKind[]] = [
  ...(['kill-libvirtd', 'kill-libvirtd', 'kill-libvirtd', 'kill-libvirtd', 'kill-libvirtd', 'kill-manager'] as const),
  ...(['kill-libvirtd-manager', 'kill-libvirtd-manager', 'kill-libvirtd-qemu', 'kill-all', 'kill-manager'] as const),
  ...KINDS,
];
const DOMAIN_CRITICAL: readonly [string, ...string[]] = [
  ...(['COMMIT RECORD pivot commit', 'COMMIT RECORD fold commit', 'COMMIT RECORD fold-back commit'] as const),
  ...(['job-complete', 'job-dismiss', 'status written', 'status written', 'status written', 'blockdev-del'] as const),
  ...(['transaction', 'transaction', 'status written: a snapshot', 'blockdev-mirror', 'block-commit'] as const),
  ...(['block-job-cancel', 'mirror is put on its chain'] as const),
  ...(['stop', 'cont', 'DOMAIN_BLOCK_JOB_ABORT', 'DOMAIN_BLOCK_COPY', 'DOMAIN_RESUME', 'foldOffline'] as const),
];

/** With a hang of the target somewhere among them. */
export function withHang(faults: readonly Fault[], random: Random): readonly Fault[] {
  const at = random.integer(faults.length + 1);
  const anywhere = 1 + random.integer(260);
  const critical = random.chance(0.3);
  const hang: Fault = critical
    ? { kind: 'hang', after: 1, at: random.pick(['job-complete', 'blockdev-mirror', 'copyImage']), when: 'before' }
    : { kind: 'hang', after: anywhere, when: 'before' };
  return faults.toSpliced(at, 0, hang);
}

/** What goes wrong in one schedule: nothing, one thing, or one upon another. */
export function drawFaults(random: Random, ofLibvirt = false): readonly Fault[] {
  const [critical, kinds] = ofLibvirt ? [DOMAIN_CRITICAL, DOMAIN_KINDS] : [CRITICAL, KINDS];
  const count = random.pick([0, 1, 1, 1, 2, 2, 2, 3, 3, 4]);
  const faults: Fault[] = [];
  for (let n = 0; n < count; n++) {
    // The first one anywhere in a migration; those that follow often soon, in the recovery from the one before.
    const after = 1 + (n === 0 || random.chance(0.3) ? random.integer(260) : random.integer(random.pick([4, 20, 80])));
    const when = random.pick<Fault['when']>(['before', 'after']);
    const at = random.chance(0.25) ? random.pick(critical) : undefined;
    const kind = at?.startsWith('COMMIT') && random.chance(0.4) ? 'unknown-outcome' : random.pick(kinds);
    faults.push(
      at === undefined
        ? { kind, after, when }
        : { kind, after: random.pick(ofLibvirt && at !== 'transaction' ? [1, 2, 3, 5, 8] : [1, 1, 2, 3]), when, at },
    );
    if (kind === 'pause') faults.push({ kind: 'resume', after: 1 + random.integer(20), when: 'before' });
  }
  return faults;
}
