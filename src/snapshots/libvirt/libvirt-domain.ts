import { type ListFlag, summarizeSnapshot } from '../../domainsnapshot/index.ts';
import {
  ERR,
  isLibvirtError,
  type LibvirtClient,
  type RemoteDomain,
  type RemoteSnapshot,
  SNAPSHOT_CREATE,
  SNAPSHOT_DELETE,
  SNAPSHOT_LIST,
  SNAPSHOT_REVERT,
} from '../../libvirt/index.ts';
import type { CreateFlag, DeleteFlag, RevertFlag, SnapshotDomain } from '../snapshot-driver.ts';
import { refusal, SnapshotError } from '../snapshot-error.ts';

const CODE_NAMES: ReadonlyMap<number, string> = new Map(
  Object.entries(ERR).map(([name, code]) => [code, `VIR_ERR_${name}`]),
);
/** `VIR_DOMAIN_SNAPSHOT_XML_SECURE`. */
const XML_SECURE = 1;

/** Flags as libvirt counts them. Those that libvirt does not have were refused before. */
function bits(table: Readonly<Record<string, number>>, flags: readonly string[]): number {
  return flags.reduce((sum, flag) => sum | (table[flag] ?? 0), 0);
}

/** Runs a call; what libvirt refuses is thrown with its code by name and its own message. */
export async function answered<T>(call: Promise<T>): Promise<T> {
  try {
    return await call;
  } catch (error) {
    if (!isLibvirtError(error)) throw error;
    const code = Number(error.fields['code']);
    const name = CODE_NAMES.get(code) ?? `VIR_ERR_${code}`;
    throw new SnapshotError(name, String(error.fields['message']), { cause: error });
  }
}

/** A domain whose snapshots libvirt keeps: each method is one of libvirt's calls. */
export class LibvirtDomain implements SnapshotDomain {
  readonly name: string;
  readonly #client: LibvirtClient;
  readonly #dom: RemoteDomain;

  constructor(client: LibvirtClient, dom: RemoteDomain) {
    this.name = dom.name;
    this.#client = client;
    this.#dom = dom;
  }

  async isActive(): Promise<boolean> {
    return (await answered(this.#client.call('DOMAIN_IS_ACTIVE', { dom: this.#dom }))).active !== 0;
  }

  async isPersistent(): Promise<boolean> {
    return (await answered(this.#client.call('DOMAIN_IS_PERSISTENT', { dom: this.#dom }))).persistent !== 0;
  }

  async destroy(): Promise<void> {
    await answered(this.#client.call('DOMAIN_DESTROY', { dom: this.#dom }));
  }

  async create(xml: string, flags: readonly CreateFlag[]): Promise<string> {
    refuseMirrors(xml);
    const args = { dom: this.#dom, xml_desc: xml, flags: bits(SNAPSHOT_CREATE, flags) };
    return (await answered(this.#client.call('DOMAIN_SNAPSHOT_CREATE_XML', args))).snap.name;
  }

  async list(flags: readonly ListFlag[], from?: string): Promise<readonly string[]> {
    const wanted = { need_results: 1, flags: bits(SNAPSHOT_LIST, flags) };
    const call =
      from === undefined
        ? this.#client.call('DOMAIN_LIST_ALL_SNAPSHOTS', { dom: this.#dom, ...wanted })
        : this.#client.call('DOMAIN_SNAPSHOT_LIST_ALL_CHILDREN', { snapshot: this.#snapshot(from), ...wanted });
    return (await answered(call)).snapshots.map(({ name }) => name);
  }

  async find(name: string): Promise<void> {
    await answered(this.#client.call('DOMAIN_SNAPSHOT_LOOKUP_BY_NAME', { dom: this.#dom, name }));
  }

  async hasCurrent(): Promise<boolean> {
    return (await answered(this.#client.call('DOMAIN_HAS_CURRENT_SNAPSHOT', { dom: this.#dom }))).result !== 0;
  }

  async current(): Promise<string> {
    return (await answered(this.#client.call('DOMAIN_SNAPSHOT_CURRENT', { dom: this.#dom }))).snap.name;
  }

  async isCurrent(name: string): Promise<boolean> {
    const { current } = await answered(this.#client.call('DOMAIN_SNAPSHOT_IS_CURRENT', { snap: this.#snapshot(name) }));
    return current !== 0;
  }

  async hasMetadata(name: string): Promise<boolean> {
    const { metadata } = await answered(
      this.#client.call('DOMAIN_SNAPSHOT_HAS_METADATA', { snap: this.#snapshot(name) }),
    );
    return metadata !== 0;
  }

  async parent(name: string): Promise<string | undefined> {
    try {
      return (await this.#client.call('DOMAIN_SNAPSHOT_GET_PARENT', { snap: this.#snapshot(name) })).snap.name;
    } catch (error) {
      if (isLibvirtError(error, ERR.NO_DOMAIN_SNAPSHOT)) return undefined;
      return await answered(Promise.reject(error));
    }
  }

  async describe(name: string, options: { readonly secure?: boolean } = {}): Promise<string> {
    const args = { snap: this.#snapshot(name), flags: options.secure === true ? XML_SECURE : 0 };
    return (await answered(this.#client.call('DOMAIN_SNAPSHOT_GET_XML_DESC', args))).xml;
  }

  /** libvirt has none. */
  mirror(): Promise<undefined> {
    return Promise.resolve(undefined);
  }

  async delete(name: string, flags: readonly DeleteFlag[]): Promise<void> {
    if (flags.includes('MIRROR_PIVOT') || flags.includes('MIRROR_ABORT')) {
      throw refusal('VIR_ERR_OPERATION_INVALID', `snapshot '${name}' is not mirrored`);
    }
    const args = { snap: this.#snapshot(name), flags: bits(SNAPSHOT_DELETE, flags) };
    await answered(this.#client.call('DOMAIN_SNAPSHOT_DELETE', args));
  }

  async revert(name: string, flags: readonly RevertFlag[]): Promise<void> {
    const args = { snap: this.#snapshot(name), flags: bits(SNAPSHOT_REVERT, flags) };
    await answered(this.#client.call('DOMAIN_REVERT_TO_SNAPSHOT', args));
  }

  #snapshot(name: string): RemoteSnapshot {
    return { name, dom: this.#dom };
  }
}

/** libvirt ignores mirrors without a word, and takes a snapshot that has none: so they never get there. */
function refuseMirrors(xml: string): void {
  let mirrored: readonly string[];
  try {
    ({ mirrored } = summarizeSnapshot(xml));
  } catch {
    // It is not well-formed: libvirt says so in its own words.
    return;
  }
  const [disk] = mirrored;
  if (disk !== undefined) throw refusal('VIR_ERR_ARGUMENT_UNSUPPORTED', `unable to handle mirroring for '${disk}'`);
}
