import { EventEmitter } from 'node:events';
import type { ChildProcess } from 'node:child_process';
import { chmod, copyFile, mkdtemp, readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { LibvirtClient } from '../src/libvirt/index.ts';
import { type LibvirtVm, loadLibvirt, processOf } from '../src/vm/index.ts';
import { guestImage } from './guest-image.ts';
import type { Lab } from './lab.ts';
import { type Exit, LabVm } from './lab-vm.ts';
import type { LabLibvirtd } from './libvirtd.ts';
import { kernelCommandLine, type LabDisk, serialOf } from './vm-command-line.ts';

export interface LibvirtVmOptions {
  readonly name: string;
  /** The id of a disk is its target: `vda`. */
  readonly disks: readonly LabDisk[];
  /** Defined, so that it stays when it is shut down. Default: transient. */
  readonly persistent?: boolean;
  /** Lines of the domain's XML besides. */
  readonly extraXml?: string;
}

/** Recording writers that may run at once in a guest. */
const WRITERS = 8;

/** A guest of the lab that a libvirtd of the lab runs, under TCG. Everything that a lab's VM can do works on it. */
export class LabDomain {
  readonly vm: LabVm;
  readonly name: string;
  readonly daemon: LabLibvirtd;

  private constructor(vm: LabVm, name: string, daemon: LabLibvirtd) {
    this.vm = vm;
    this.name = name;
    this.daemon = daemon;
  }

  /** Starts one; resolves when QEMU runs. `vm.booted()` waits for the guest. */
  static async start(lab: Lab, daemon: LabLibvirtd, options: LibvirtVmOptions): Promise<LabDomain> {
    const folder = await mkdtemp(join(lab.folder, 'domain-'));
    // Whoever QEMU runs as must get to what is in it.
    await chmod(folder, 0o755);
    const { kernel, initramfs } = await guestImage();
    // libvirt gives them to the user that QEMU runs as; the cache is everybody's.
    const own = { kernel: join(folder, 'vmlinuz'), initramfs: join(folder, 'initramfs') };
    await Promise.all([copyFile(kernel, own.kernel), copyFile(initramfs, own.initramfs)]);
    const guest = {
      console: join(folder, 'console'),
      agent: join(folder, 'agent.sock'),
      writers: Array.from({ length: WRITERS }, (_, index) => join(folder, `writer${index}`)),
    };
    const xml = domainXml(options, { ...own, ...guest }, daemon.build.emulator);
    await using client = await LibvirtClient.connect(daemon.uri());
    if (options.persistent) {
      const { dom } = await client.call('DOMAIN_DEFINE_XML', { xml });
      await client.call('DOMAIN_CREATE', { dom });
    } else await client.call('DOMAIN_CREATE_XML', { xml_desc: xml });
    await daemon.keepCapabilities();
    const pid = await pidOf(daemon, options.name);
    const qemu = await processOf(pid);
    const child = Object.assign(new EventEmitter(), { pid, kill: (signal: NodeJS.Signals) => tryKill(pid, signal) });
    const exited = (async (): Promise<Exit> => {
      while ((await processOf(pid)) === qemu) await sleep(20);
      return { status: null, signal: null };
    })();
    const vm = new LabVm({
      name: options.name,
      commandLine: [],
      process: child as unknown as ChildProcess,
      exited,
      qmpPaths: [],
      disks: options.disks,
      log: join(daemon.folder, 'var-log-libvirt', 'qemu', `${options.name}.log`),
      guest,
    });
    return new LabDomain(vm, options.name, daemon);
  }

  /** The VM as a migration works with it. */
  async connect(): Promise<LibvirtVm> {
    const { LibvirtVm: Vm } = await loadLibvirt();
    return await Vm.connect(this.daemon.uri(), this.name);
  }
}

async function pidOf(daemon: LabLibvirtd, name: string): Promise<number> {
  for (const pid of daemon.pids('qemu-system-x86')) {
    const argv = (await readFile(`/proc/${pid}/cmdline`, 'utf8')).split('\0');
    if (argv.some((arg) => arg.startsWith(`guest=${name},`))) return pid;
  }
  throw new Error(`no QEMU of ${name} among ${(await readdir('/proc')).length} processes`);
}

/** @returns whether there was such a process, as a `ChildProcess` does */
function tryKill(pid: number, signal: NodeJS.Signals): boolean {
  try {
    return process.kill(pid, signal);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ESRCH') return false;
    throw error;
  }
}

const escaped = (text: string): string =>
  text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll("'", '&apos;');

interface GuestFiles {
  readonly kernel: string;
  readonly initramfs: string;
  readonly console: string;
  readonly agent: string;
  readonly writers: readonly string[];
}

function driverOptions({ cache, discard, iothread }: LabDisk, iothreads: readonly string[]): string {
  return [
    ...(cache === undefined ? [] : [` cache='${cache}'`]),
    ...(discard === undefined ? [] : [` discard='${discard}'`]),
    ...(iothread === undefined ? [] : [` iothread='${1 + iothreads.indexOf(iothread)}'`]),
  ].join('');
}

/** The same machine as `vmArguments` makes. */
function domainXml({ name, disks, extraXml = '' }: LibvirtVmOptions, guest: GuestFiles, emulator: string): string {
  const iothreads = [...new Set(disks.flatMap(({ iothread }) => iothread ?? []))];
  const drives = disks.map(
    (disk) => `
    <disk type='file' device='${disk.cdrom ? 'cdrom' : 'disk'}'>
      <driver name='qemu' type='${disk.format ?? 'raw'}'${driverOptions(disk, iothreads)}/>
      ${disk.path === undefined ? '' : `<source file='${escaped(disk.path)}'/>`}
      <target dev='${disk.id}' bus='${disk.cdrom ? 'ide' : 'virtio'}'/>
      ${disk.cdrom ? '' : `<serial>${escaped(serialOf(disk))}</serial>`}
      ${disk.readOnly ? '<readonly/>' : ''}${disk.shareable ? '<shareable/>' : ''}
    </disk>`,
  );
  const channels = guest.writers.map(
    (file, index) => `
    <channel type='file'><source path='${file}' append='on'/><target type='virtio' name='blockferry.writer${index}'/></channel>`,
  );
  return `<domain type='qemu'>
  <name>${escaped(name)}</name>
  <memory unit='MiB'>384</memory>
  <vcpu>1</vcpu>${
    iothreads.length > 0
      ? `
  <iothreads>${iothreads.length}</iothreads>`
      : ''
  }
  <os>
    <type arch='x86_64' machine='pc'>hvm</type>
    <kernel>${guest.kernel}</kernel>
    <initrd>${guest.initramfs}</initrd>
    <cmdline>${kernelCommandLine(guest.writers.length)}</cmdline>
  </os>
  <features><acpi/></features>
  <cpu mode='custom' match='exact' check='none'><model fallback='allow'>qemu64</model><feature policy='require' name='rdrand'/></cpu>
  <on_reboot>destroy</on_reboot>
  <devices>
    <emulator>${emulator}</emulator>
    <controller type='usb' model='none'/>${drives.join('')}
    <serial type='file'><source path='${guest.console}'/><target port='0'/></serial>
    <channel type='unix'><source mode='bind' path='${guest.agent}'/><target type='virtio' name='blockferry.agent'/></channel>${channels.join('')}
    <memballoon model='none'/>
    ${extraXml}
  </devices>
</domain>`;
}
