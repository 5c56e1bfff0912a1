export type { BlockJob, Disk, ImageNode, Inventory, NodeSettings, VmIdentity } from './inventory.ts';
export {
  type DiskLimits,
  type FoldJob,
  findDisk,
  type GuestBrake,
  type JobState,
  type MirrorNode,
  type OverlayNode,
  type TargetChain,
  type VirtualMachine,
} from './virtual-machine.ts';
export type { StartImage } from './libvirt/definition.ts';
export { formatJobName, type JobName } from './libvirt/job-name.ts';
export type { LibvirtVm } from './libvirt/libvirt-vm.ts';
/**
 * What drives the VMs of libvirt, loaded when it is asked for: libxml2 takes a tenth of a second to load, and a guest that a
 * dead manager has left held waits while `recover` starts.
 */
export const loadLibvirt = (): Promise<typeof import('./libvirt/index.ts')> => import('./libvirt/index.ts');
export { QemuVm } from './qemu/qemu-vm.ts';
export { type DiscoveredSocket, type DiscoveredVm, discoverQemu } from './qemu/discover.ts';
export { isOfThisBoot, pidOf, processExists, processOf } from './qemu/process-exists.ts';
