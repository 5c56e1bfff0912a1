import { chmod } from 'node:fs/promises';
import { run } from '../../src/base/index.ts';
import { openFilesOf } from '../../src/vm/qemu/discover.ts';
import type { ImageToRead } from '../chain-reader.ts';
import { type Lab, type LabDisk, LabDomain, LabLibvirtd, type LabVm } from '../index.ts';
import type { Layout } from './layout.ts';
import { wrongImages } from './wrong-images.ts';
import { litterInQemu } from './litter-in-qemu.ts';
import type { Hypervisor, TrialVm } from './trial-vm.ts';

/** Not root, so that an image that libvirt has not given to its QEMU cannot be opened. */
const QEMU_USER = 65_534;

/** A libvirtd of the lab, which runs the VMs of one trial after another. virsh looks at them, not the client that is tried. */
export class LibvirtHost implements Hypervisor {
  readonly #daemon: LabLibvirtd;
  #started = 0;

  private constructor(daemon: LabLibvirtd) {
    this.#daemon = daemon;
  }

  /** Starts it; it ends with the lab. */
  static async open(lab: Lab): Promise<LibvirtHost> {
    return new LibvirtHost(await LabLibvirtd.start(lab, { user: `+${QEMU_USER}` }));
  }

  async start(lab: Lab, disks: readonly LabDisk[], { persistent }: Layout): Promise<TrialVm> {
    await chmod(lab.folder, 0o755);
    this.#started += 1;
    // A name of its own for each: libvirt's log of it has one trial.
    const name = `torture-${process.pid}-${this.#started}`;
    const named = disks.map((disk, n): LabDisk => ({ ...disk, id: `vd${'abcdefgh'[n]}` }));
    const trialVm = new DomainVm(
      await LabDomain.start(lab, this.#daemon, { name, disks: named, persistent }),
      persistent,
    );
    lab.defer(() => trialVm[Symbol.asyncDispose]());
    await trialVm.vm.booted();
    return trialVm;
  }
}

class DomainVm implements TrialVm, AsyncDisposable {
  readonly vm: LabVm;
  readonly name: string;
  readonly named: TrialVm['named'];
  readonly address: TrialVm['address'];
  readonly #domain: LabDomain;
  readonly #persistent: boolean;

  constructor(domain: LabDomain, persistent: boolean) {
    const { vm, name, daemon } = domain;
    this.vm = vm;
    this.name = name;
    this.named = [name, '--connect', daemon.uri()];
    this.address = { qmpPath: '', domain: { uri: daemon.uri(), name } };
    this.#domain = domain;
    this.#persistent = persistent;
  }

  async killDaemon(): Promise<void> {
    await this.#domain.daemon.kill();
    await this.#domain.daemon.untilReady();
  }

  /**
   * libvirtd 9.0 forgets a domain (`unknown mirror job type ''`) when it is started again and was killed while a copy or
   * commit was being concluded: it had written the mirror down, and not what kind it is.
   */
  async isForgotten(): Promise<boolean> {
    const { status, stdout } = await this.#ask('domstate', this.#domain.name);
    return status !== 0 || stdout.trim() === 'shut off' || (await this.#hasForgottenSnapshot());
  }

  /** Killed while it takes a snapshot, libvirtd does not know of it: its QEMU has an overlay open that the domain does not name. */
  async #hasForgottenSnapshot(): Promise<boolean> {
    const xml = await this.#virsh('dumpxml', this.#domain.name);
    const open = (await openFilesOf(this.vm.pid)) ?? [];
    return open.some(({ path }) => path.endsWith('.overlay.qcow2') && !xml.includes(path));
  }

  async litter({ alive, images }: Parameters<TrialVm['litter']>[0]): Promise<string[]> {
    if (alive) return [...(await this.#litterOfLive(images)), ...(await this.#litterOfDefinition(images))];
    const { status } = await this.#ask('dominfo', this.#domain.name);
    if (!this.#persistent) return status === 0 ? ['libvirt knows the domain still'] : [];
    return [...(await this.#litterOfDefinition(images)), ...(await this.#litterOfStart(images))];
  }

  async #litterOfLive(images: readonly ImageToRead[]): Promise<string[]> {
    const { name } = this.#domain;
    const xml = await this.#virsh('dumpxml', name);
    const snapshots = (await this.#virsh('snapshot-list', '--name', name)).trim();
    return [
      ...wrongImages('the running domain', xml, images),
      ...['<mirror', '<iotune'].filter((tag) => xml.includes(tag)).map((tag) => `${tag}> in the running domain`),
      ...(snapshots === '' ? [] : [`snapshots ${snapshots}`]),
      ...(await litterInQemu((command) => this.#execute(command))),
    ];
  }

  async #litterOfDefinition(images: readonly ImageToRead[]): Promise<string[]> {
    if (!this.#persistent) return [];
    const xml = await this.#virsh('dumpxml', '--inactive', this.#domain.name);
    return wrongImages('the definition', xml, images);
  }

  /** That it starts from these images, too; nothing is written to them. */
  async #litterOfStart(images: readonly ImageToRead[]): Promise<string[]> {
    const { name } = this.#domain;
    const { status, stderr } = await this.#ask('start', '--paused', name);
    if (status !== 0) return [`it does not start: ${stderr.trim()}`];
    const litter = wrongImages('the domain that was started again', await this.#virsh('dumpxml', name), images);
    await this.#virsh('destroy', name);
    return litter;
  }

  async #execute(command: string): Promise<unknown> {
    const { name } = this.#domain;
    const text = await this.#virsh('qemu-monitor-command', name, JSON.stringify({ execute: command }));
    return (JSON.parse(text) as { readonly return: unknown }).return;
  }

  async evidence(): Promise<string> {
    const { name, daemon } = this.#domain;
    const said: string[] = [];
    for (const args of [
      ['dumpxml', name],
      ['dumpxml', '--inactive', name],
      ['domstate', '--reason', name],
    ]) {
      const { stdout, stderr } = await this.#ask(...args);
      said.push(`$ virsh ${args.join(' ')}`, stdout, stderr);
    }
    said.push('the log of its QEMU:', await this.vm.qemuLog(), 'what libvirtd printed:', await daemon.log());
    return said.join('\n');
  }

  /** libvirt knows it no more. */
  async [Symbol.asyncDispose](): Promise<void> {
    const { name } = this.#domain;
    await this.#ask('destroy', name);
    if (this.#persistent) await this.#ask('undefine', name);
  }

  async #virsh(...args: string[]): Promise<string> {
    return (await run('virsh', ['-q', '-c', this.#domain.daemon.uri(), ...args])).stdout;
  }

  async #ask(...args: string[]): Promise<Awaited<ReturnType<typeof run>>> {
    return await run('virsh', ['-q', '-c', this.#domain.daemon.uri(), ...args], { accept: [0, 1] });
  }
}
