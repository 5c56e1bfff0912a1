import type { LibvirtClient, RemoteDomain } from '../../libvirt/index.ts';
import type { VmIdentity } from '../inventory.ts';
import type { OpenFile } from '../virtual-machine.ts';

/** What driving a domain needs of a connection to its libvirtd. */
export type Libvirtd = Pick<LibvirtClient, 'state' | 'call' | 'listen' | 'close' | typeof Symbol.asyncDispose>;

/** What driving a domain needs from outside: its libvirtd, and what the host itself knows of its QEMU. */
export interface DomainReach {
  readonly dom: RemoteDomain;
  readonly identity: VmIdentity;
  /** Connects to its libvirtd, for the first time or anew. @throws FerryError what `LibvirtClient.connect` throws */
  connect(): Promise<Libvirtd>;
  /** Whether its QEMU is gone. */
  hasEnded(): Promise<boolean>;
  /** Whether its QEMU has this very file open. False where there is no such file, or where this user may not look. */
  hasOpen(path: string): Promise<boolean>;
  /** The files that its QEMU has open; undefined where this user may not know. */
  openFiles(): Promise<readonly OpenFile[] | undefined>;
}
