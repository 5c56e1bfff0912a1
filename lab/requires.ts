import { accessSync, constants } from 'node:fs';
import { delimiter, isAbsolute, join } from 'node:path';

/** What the lab says when it cannot do its work: something is missing on this machine, or a guest did not do as asked. */
export class LabError extends Error {
  override readonly name = 'LabError';
}

/** The Debian package of each program that the lab runs. */
const PACKAGE_OF: Readonly<Record<string, string>> = {
  'qemu-system-x86_64': 'qemu-system-x86',
  'qemu-img': 'qemu-utils',
  'qemu-io': 'qemu-utils',
  'qemu-nbd': 'qemu-utils',
  'qemu-storage-daemon': 'qemu-utils qemu-system-common',
  busybox: 'busybox-static',
  fio: 'fio',
  nbdkit: 'nbdkit',
  nbdinfo: 'libnbd-bin',
  libvirtd: 'libvirt-daemon libvirt-daemon-driver-qemu',
};

function isExecutable(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}

/** The path of a program, or undefined where there is none. The sbin folders are searched too. */
export function findProgram(program: string): string | undefined {
  if (isAbsolute(program)) return isExecutable(program) ? program : undefined;
  const folders = [...(process.env['PATH'] ?? '').split(delimiter), '/usr/sbin', '/sbin'];
  return folders.map((folder) => join(folder, program)).find(isExecutable);
}

/**
 * The paths of programs that the caller cannot do without.
 * @throws LabError that names all that are missing and the line that installs them.
 */
export function requirePrograms(...programs: readonly string[]): string[] {
  const missing = programs.filter((program) => findProgram(program) === undefined);
  if (missing.length > 0) {
    const packages = [...new Set(missing.flatMap((program) => (PACKAGE_OF[program] ?? program).split(' ')))];
    throw new LabError(
      `the lab needs ${missing.join(', ')}, not found here; install: sudo apt-get install ${packages.join(' ')}`,
    );
  }
  return programs.map((program) => findProgram(program) ?? program);
}
