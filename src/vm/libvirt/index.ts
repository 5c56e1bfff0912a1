/** What knows libvirt's VMs. The rest of the house comes here by `loadLibvirt` of the room. */
export { redirectDefinition, type StartImage, untilEnded } from './definition.ts';
export { LibvirtVm } from './libvirt-vm.ts';
