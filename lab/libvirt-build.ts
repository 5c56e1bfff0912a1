import { chmod, rm, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { cached } from './cache.ts';
import { PrivateApt } from './debian.ts';
import type { QemuBuild } from './qemu-builds.ts';

/** A build of libvirt with the QEMU that goes with it, as a namespace sees them where the machine's own are. */
export interface LibvirtBuild {
  /** As that of its QEMU. */
  readonly label: string;
  /** What is bound over what, in this order. */
  readonly mounts: readonly { readonly from: string; readonly at: string }[];
  /** The emulator of its domains, in the namespace. */
  readonly emulator: string;
}

/** Where the namespace has a QEMU that is not installed: whoever QEMU runs as must get to it, which the cache does not promise. */
const PLACE = '/opt';

const BACKPORTED = ['libvirt-daemon', 'libvirt-daemon-driver-qemu'];

/** libvirt's own files, which have the same paths in all its versions. */
const OWN: readonly string[] = [
  '/usr/sbin/libvirtd',
  '/usr/lib/libvirt',
  '/usr/lib/x86_64-linux-gnu/libvirt',
  ...['libvirt', 'libvirt-qemu', 'libvirt-lxc', 'libvirt-admin'].map(
    (name) => `/usr/lib/x86_64-linux-gnu/${name}.so.0`,
  ),
  '/usr/share/libvirt',
];

const EMULATOR = '/usr/bin/qemu-system-x86_64';
const MODULES = '/usr/lib/x86_64-linux-gnu/qemu';

/**
 * The libvirt that Debian gives with a build of QEMU: the one that is installed; with backports' 10.0, backports' 11.3, fetched on
 * first use (7 MB) and not installed. What it needs besides is what the installed one needs.
 */
export async function libvirtOf(qemu: QemuBuild): Promise<LibvirtBuild> {
  if (qemu.label !== 'backports') return { label: qemu.label, mounts: [], emulator: qemu.system };
  const folder = await cached('libvirt-bookworm-backports', async (made) => {
    const apt = await PrivateApt.open(join(made, 'apt'), ['bookworm', 'bookworm-backports']);
    await apt.unpack(BACKPORTED, made, 'bookworm-backports');
    await apt.remove();
    for (const unused of ['etc', 'lib', 'var', 'usr/share/man', 'usr/share/doc', 'usr/share/locale']) {
      await rm(join(made, unused), { recursive: true, force: true });
    }
    await writeFile(join(made, 'emulator'), launcher(qemu));
    await chmod(join(made, 'emulator'), 0o755);
  });
  return {
    label: qemu.label,
    mounts: [
      ...OWN.map((at) => ({ from: join(folder, at), at })),
      { from: rootOf(qemu), at: join(PLACE, 'qemu') },
      { from: join(folder, 'emulator'), at: EMULATOR },
      // It takes modules of another build that it finds there, and dies of them when it is asked for its types.
      { from: join(rootOf(qemu), MODULES), at: MODULES },
    ],
    emulator: EMULATOR,
  };
}

/** The folder that a build's `usr` is in. */
function rootOf({ system }: QemuBuild): string {
  return dirname(dirname(dirname(system)));
}

/** libvirt runs one program and no arguments of ours. */
function launcher(qemu: QemuBuild): string {
  const { system, systemArgs, env } = qemu;
  const lines = [
    '#!/bin/sh',
    ...Object.entries(env).map(([name, value]) => `export ${name}='${value}'`),
    `exec '${system}' ${systemArgs.map((arg) => `'${arg}'`).join(' ')} "$@"`,
  ];
  return `${lines.join('\n')}\n`.replaceAll(rootOf(qemu), join(PLACE, 'qemu'));
}
