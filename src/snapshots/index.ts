/**
 * Snapshots of virtual machines: virsh's commands, whoever keeps the snapshots, and mirrored ones.
 */
export { DiskKeeper } from './kept/disk-keeper.ts';
export type { DiskSnapshotPlan } from './kept/disk-plan.ts';
export type { Settlement } from './kept/disk-settlement.ts';
export { KeptDomain } from './kept/kept-domain.ts';
export type { DomainDescription } from './kept/domain-description.ts';
export type { KeeperDeps, KeptVm } from './kept/mirror-keeper.ts';
export { describedDomain } from './libvirt/described-domain.ts';
export { LibvirtSnapshotHost } from './libvirt/libvirt-host.ts';
export type {
  CreateFlag,
  DeleteFlag,
  MirrorState,
  RevertFlag,
  SnapshotDomain,
  SnapshotHost,
} from './snapshot-driver.ts';
export type { CommandContext } from './virsh/command.ts';
export type { OptionDefinition } from './virsh/option-list.ts';
export { type CommandOutcome, runSnapshotCommand } from './virsh/run-command.ts';
export { type CommandUsage, SNAPSHOT_USAGE } from './virsh/usage.ts';
