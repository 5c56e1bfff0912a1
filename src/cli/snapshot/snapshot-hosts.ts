import { isFerryError } from '../../base/index.ts';
import { LibvirtClient } from '../../libvirt/index.ts';
import type { MigrationEvent } from '../../migration/index.ts';
import { LibvirtSnapshotHost, type SnapshotDomain, type SnapshotHost } from '../../snapshots/index.ts';
import type { Cli } from '../cli.ts';
import { libvirtKeeper } from './libvirt-keeper.ts';
import { QemuSnapshotHost } from './qemu-snapshot-host.ts';

/** How the command line says where the VM is. */
export interface HostChoice {
  /** `--qmp`. */
  readonly qmp?: string | undefined;
  /** `--connect`. */
  readonly connect?: string | undefined;
}

/** libvirt's own default for who may use it. */
const SYSTEM = 'qemu:///system';

/**
 * Where VMs are looked for: at the libvirtd of `--connect` or LIBVIRT_DEFAULT_URI, as virsh does; without either first among
 * the VMs that are driven over QMP, then at the libvirtd of the system, if there is one.
 */
export class SnapshotHosts implements SnapshotHost, AsyncDisposable {
  readonly #uri: string | undefined;
  readonly #qmp: string | undefined;
  readonly #cli: Cli;
  readonly #onEvent: (event: MigrationEvent) => void;
  readonly #qemu: QemuSnapshotHost;
  #client: LibvirtClient | undefined;

  constructor(cli: Cli, { qmp, connect }: HostChoice, onEvent: (event: MigrationEvent) => void) {
    this.#cli = cli;
    this.#onEvent = onEvent;
    this.#qmp = qmp;
    this.#uri = connect ?? (qmp === undefined ? cli.surroundings.env['LIBVIRT_DEFAULT_URI'] || undefined : undefined);
    this.#qemu = new QemuSnapshotHost(cli, qmp, onEvent);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#client?.[Symbol.asyncDispose]();
  }

  async domain(wanted: string): Promise<SnapshotDomain | undefined> {
    if (this.#uri !== undefined) return await this.#libvirt(this.#uri, wanted);
    try {
      const found = await this.#qemu.domain(wanted);
      if (found !== undefined || this.#qmp !== undefined) return found;
    } catch (error) {
      if (isFerryError(error, 'VM_OF_LIBVIRT')) return await this.#libvirt(SYSTEM, wanted);
      throw error;
    }
    try {
      return await this.#libvirt(SYSTEM, wanted);
    } catch (error) {
      // Nobody has said that there is one.
      if (isFerryError(error, 'LIBVIRT_NO_SOCKET', 'LIBVIRT_REFUSED', 'LIBVIRT_DENIED')) return undefined;
      throw error;
    }
  }

  async #libvirt(uri: string, wanted: string): Promise<SnapshotDomain | undefined> {
    this.#client ??= await LibvirtClient.connect(uri);
    const host = new LibvirtSnapshotHost(this.#client, (owner) => libvirtKeeper(this.#cli, owner, uri, this.#onEvent));
    return await host.domain(wanted);
  }
}
