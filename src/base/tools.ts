/**
 * The programs that blockferry runs. Another build is chosen by an environment variable (`QEMU_IMG`,
 * `QEMU_STORAGE_DAEMON`, …), so that it can be tested or used.
 */
export const tools = {
  qemuImg: (): string => process.env['QEMU_IMG'] ?? 'qemu-img',
  qemuStorageDaemon: (): string => process.env['QEMU_STORAGE_DAEMON'] ?? 'qemu-storage-daemon',
} as const;
