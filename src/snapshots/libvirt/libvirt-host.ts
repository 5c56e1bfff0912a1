import { ERR, isLibvirtError, type LibvirtClient, type RemoteDomain } from '../../libvirt/index.ts';
import type { SnapshotOwner } from '../../journal/index.ts';
import type { KeeperDeps } from '../kept/mirror-keeper.ts';
import type { SnapshotDomain, SnapshotHost } from '../snapshot-driver.ts';
import { answered, LibvirtDomain } from './libvirt-domain.ts';
import { MirroredDomain } from './mirrored-domain.ts';

/** The domains of one libvirtd. */
export class LibvirtSnapshotHost implements SnapshotHost {
  readonly #client: LibvirtClient;
  readonly #mirrors: ((owner: SnapshotOwner) => KeeperDeps) | undefined;

  /** @param mirrors what keeps the mirrored snapshot of a domain; without it they are refused */
  constructor(client: LibvirtClient, mirrors?: (owner: SnapshotOwner) => KeeperDeps) {
    this.#client = client;
    this.#mirrors = mirrors;
  }

  /** As virsh looks for a domain: by id, then by UUID, then by name. */
  async domain(wanted: string): Promise<SnapshotDomain | undefined> {
    const client = this.#client;
    const dom =
      (/^\d+$/.test(wanted) && Number(wanted) < 2 ** 31
        ? await found(client.call('DOMAIN_LOOKUP_BY_ID', { id: Number(wanted) }))
        : undefined) ??
      (/^[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i.test(wanted)
        ? await found(client.call('DOMAIN_LOOKUP_BY_UUID', { uuid: wanted.toLowerCase() }))
        : undefined) ??
      (await found(client.call('DOMAIN_LOOKUP_BY_NAME', { name: wanted })));
    if (dom === undefined) return undefined;
    const domain = new LibvirtDomain(client, dom);
    const deps = this.#mirrors?.({ name: dom.name, uuid: dom.uuid });
    return deps ? new MirroredDomain(domain, deps) : domain;
  }
}

async function found(call: Promise<{ readonly dom: RemoteDomain }>): Promise<RemoteDomain | undefined> {
  try {
    return (await call).dom;
  } catch (error) {
    if (isLibvirtError(error, ERR.NO_DOMAIN)) return undefined;
    return await answered(Promise.reject(error));
  }
}
