import type { Clock } from '../../base/index.ts';
import { isLibvirtError } from '../../libvirt/index.ts';
import type { Domain } from './block-jobs.ts';
import { filesOf } from './domain-xml.ts';
import { staysOpen } from './qemu-process.ts';
import { describe } from './read-domain.ts';

interface NamedNode {
  readonly 'node-name': string;
  /** The name of the file that is below it. */
  readonly file: string;
}

/**
 * Closes those of these images that QEMU has open and libvirt does not know of: a libvirtd that was killed while it opened or
 * closed them has left them so. Else the space of a file that is removed would not come back before the VM ends; and a libvirtd
 * that has forgotten such nodes gives their names to the next ones, which QEMU refuses.
 *
 * libvirt has no call for that, so QEMU is told through it (`virsh qemu-monitor-command`), which taints the domain
 * (`custom-monitor`). Nodes that something stands on are refused by QEMU, and stay. Where libvirt refuses to tell QEMU, all stay: that
 * costs space, and no data.
 */
export async function closeStrays(domain: Domain, paths: readonly string[], clock: Clock): Promise<void> {
  let strays: ReadonlySet<string> = new Set();
  if (!(await staysOpen(async () => (strays = await straysOf(domain, paths)).size > 0, clock))) return;
  try {
    await closeNodesOn(strays, domain);
  } catch (error) {
    if (!isLibvirtError(error)) throw error;
  }
}

/** Closes, from the top, all nodes on these files that can be closed. */
async function closeNodesOn(files: ReadonlySet<string>, { client, dom }: Domain): Promise<void> {
  const tell = async (execute: string, args: object): Promise<unknown> => {
    const cmd = JSON.stringify({ execute, arguments: args });
    const { result } = await client.call('QEMU_DOMAIN_MONITOR_COMMAND', { dom, cmd, flags: 0 });
    return (JSON.parse(result) as { readonly return?: unknown }).return;
  };
  for (let before = Number.POSITIVE_INFINITY; ; ) {
    const nodes = ((await tell('query-named-block-nodes', { flat: true })) ?? []) as readonly NamedNode[];
    const names = nodesOn(files, nodes);
    // When a round has closed none, what is left is in use.
    if (names.length === 0 || names.length === before) return;
    before = names.length;
    for (const name of names) await tell('blockdev-del', { 'node-name': name });
  }
}

/** Those of the files that QEMU has open, removed or not, and that are in no chain that libvirt knows of. */
async function straysOf({ client, dom, reach }: Domain, paths: readonly string[]): Promise<ReadonlySet<string>> {
  const files = new Set((await reach.openFiles())?.map(({ path }) => path.replace(/ \(deleted\)$/, '')));
  const open = paths.filter((path) => files.has(path));
  if (open.length === 0) return new Set();
  const description = await describe(client, dom);
  const below = description.disks.flatMap(({ mirror }) => mirror?.below.map(({ filename }) => filename) ?? []);
  const known = new Set([...filesOf(description), ...below]);
  return new Set(open.filter((path) => !known.has(path)));
}

/** The nodes that libvirt has made on these files, format before file: `libvirt-7-format` stands on `libvirt-7-storage`. */
function nodesOn(files: ReadonlySet<string>, nodes: readonly NamedNode[]): string[] {
  const names = new Set(nodes.map((node) => node['node-name']));
  const storages = nodes.flatMap((node) => {
    const [, stem] = /^(libvirt-\d+)-storage$/.exec(node['node-name']) ?? [];
    return stem !== undefined && files.has(node.file) ? [stem] : [];
  });
  return ['format', 'storage']
    .flatMap((kind) => storages.map((stem) => `${stem}-${kind}`))
    .filter((name) => names.has(name));
}
