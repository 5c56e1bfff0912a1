/**
 * Throwaway real VMs and storages, used by the demo, the tests and the benchmarks alike.
 *
 *     await using lab = await Lab.open({ name: 'two disks' });
 *     const fast = await lab.storage('fast');
 *     const path = join(fast, 'a.qcow2');
 *     await lab.image({ path, format: 'qcow2', size: 2 ** 28, fill: { bytes: 2 ** 26, seed: 7 } });
 *     const vm = await lab.startVm({ name: 'vm 1', disks: [{ id: 'a', path, format: 'qcow2' }] });
 *     const writer = await vm.startWriter({ disk: 'a', rate: 300 });   // waits for the guest
 *     ...                                                              // migrate it over vm.qmpPath
 *     await writer.advanced(100);                                      // wait for states, never for times
 *     const record = await writer.stop();                              // what the disk must hold now
 *     expect(await vm.ioErrors()).toEqual([]);
 *     await vm.stop();                                                 // or kill(); the lab kills what is left
 *
 * The guest is Debian's cloud kernel with an initramfs of busybox, perl and fio. Guests run under TCG; KVM is used when
 * `BLOCKFERRY_LAB_ACCEL=kvm` asks for it and it works. What takes time to make is kept in `.cache` (`BLOCKFERRY_CACHE`).
 * `qemuBuilds()` gives the builds of QEMU that the test matrix runs on. For odd cases: `boot: false` runs QEMU without a
 * guest, `warm: sizes` goes on from a guest that has booted before (0.2 s instead of 6), and
 * `lab.defer` has anything else undone with the lab. `TMPDIR` chooses where labs are (`/dev/shm`: no slow disk).
 *
 * For tests that need no guest and many trials: `StorageDaemon`, `RecordingWriter` and `NbdClient`. For faults of a
 * target: `FaultyDisk`, `smallFilesystem`. `checkWrites(record, reader)` says which acknowledged writes a chain lacks.
 */
export {
  checkWrites,
  type CheckOptions,
  type LostWrite,
  type ReadDisk,
  type WriteCheck,
} from './acknowledged-writes.ts';
export { type OpenChain, openChain } from './chain-reader.ts';
export {
  FaultyDisk,
  type FaultyDiskOptions,
  type FailingFilesystem,
  failingFilesystem,
  type SmallFilesystem,
  smallFilesystem,
  whyNoMount,
} from './faults.ts';
export { type FioOptions, type FioResult, type FioSide, type DiskStats, GuestLoad } from './guest-load.ts';
export { GuestWriter, type WriterOptions } from './guest-writer.ts';
export { type HangingFilesystem, hangingFilesystem, whyNoHang } from './hanging-filesystem.ts';
export { Lab, type VmOptions } from './lab.ts';
export { LabDomain, type LibvirtVmOptions } from './libvirt-vm.ts';
export { LabLibvirtd, type LibvirtdOptions } from './libvirtd.ts';
export type { ImageFill, ImageOptions } from './lab-image.ts';
export { type Exit, LabVm } from './lab-vm.ts';
export { NbdClient, NbdError, type NbdExportInfo } from './nbd-client.ts';
export { installedQemu, qemuBuilds, type QemuBuild, type QemuBuilds } from './qemu-builds.ts';
export { RecordingWriter, type RecordingWriterOptions } from './recording-writer.ts';
export { LabError, requirePrograms } from './requires.ts';
export { type BlockNode, type DiskExport, StorageDaemon, type StorageDaemonOptions } from './storage-daemon.ts';
export { type DiskStyle, type LabDisk, nodeOf } from './vm-command-line.ts';
export {
  blockIndex,
  readWriteHeader,
  WRITE_HEADER_SIZE,
  WRITE_MAGIC,
  writeContents,
  type WriteKind,
  writeKind,
  writeOffset,
  type WritePattern,
  type WriteRecord,
} from './write-pattern.ts';
