import type { CreateFlag } from '../snapshot-driver.ts';
import { flagRefusal, SnapshotError } from '../snapshot-error.ts';

/** libvirt's rules for flags of creating. @throws SnapshotError VIR_ERR_INVALID_ARG */
export function checkFlags(flags: readonly CreateFlag[]): void {
  const [has, name] = [new Set(flags), (flag: CreateFlag) => `'VIR_DOMAIN_SNAPSHOT_CREATE_${flag}'`];
  if (has.has('CURRENT') && !has.has('REDEFINE')) {
    throw flagRefusal(`Flag ${name('REDEFINE')} is required by flag ${name('CURRENT')}`);
  }
  if (has.has('QUIESCE') && !has.has('DISK_ONLY')) {
    throw flagRefusal(`Flag ${name('DISK_ONLY')} is required by flag ${name('QUIESCE')}`);
  }
  for (const other of ['NO_METADATA', 'HALT'] as const) {
    if (!has.has('REDEFINE') || !has.has(other)) continue;
    throw flagRefusal(`Flags ${name('REDEFINE')} and ${name(other)} are mutually exclusive`);
  }
  if (has.has('LIVE') && has.has('REDEFINE')) {
    throw flagRefusal(`Flags ${name('LIVE')} and ${name('REDEFINE')} are mutually exclusive`);
  }
}

/** What libvirt's qemu driver wants of a name. @throws SnapshotError VIR_ERR_XML_DETAIL */
export function checkName(name: string): void {
  const why = name.includes('/') ? "contain '/'" : name.startsWith('.') ? "start with '.'" : undefined;
  if (why === undefined) return;
  throw new SnapshotError('VIR_ERR_XML_DETAIL', `invalid snapshot name '${name}': name can't ${why}`);
}
