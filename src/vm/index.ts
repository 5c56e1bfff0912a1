export type { BlockJob, Disk, ImageNode, Inventory, NodeSettings, VmIdentity } from './inventory.ts';
export {
  type FoldJob,
  findDisk,
  type JobState,
  type MirrorNode,
  type OverlayNode,
  type TargetChain,
  type VirtualMachine,
} from './virtual-machine.ts';
export { redirectDefinition } from './libvirt/definition.ts';
export { formatJobName, type JobName } from './libvirt/job-name.ts';
export { LibvirtVm } from './libvirt/libvirt-vm.ts';
export { QemuVm } from './qemu/qemu-vm.ts';
export { type DiscoveredSocket, type DiscoveredVm, discoverQemu } from './qemu/discover.ts';
export { isOfThisBoot, processExists } from './qemu/process-exists.ts';
