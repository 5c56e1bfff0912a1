/** One node of QEMU's block graph. */
export interface GraphNode {
  readonly name: string;
  readonly driver: string;
  /** What QEMU calls the file or URL that is behind it. */
  readonly filename: string;
  readonly readOnly: boolean;
  /** Children by their role: `file`, `backing`, `target`, … */
  readonly children: ReadonlyMap<string, string>;
  /** How many parents hold it: nodes, devices, jobs and exports. The monitor's own reference is not counted. */
  readonly parents: number;
}

/** What `query-named-block-nodes` says of a node, as far as it is needed here. */
export interface NamedNode {
  readonly 'node-name'?: string;
  readonly drv: string;
  readonly file: string;
  readonly ro: boolean;
}

/** The reply of `x-debug-query-block-graph` (XDbgBlockGraph), as far as it is needed here. */
export interface DebugGraph {
  readonly nodes: readonly { readonly id: number; readonly type: string; readonly name: string }[];
  readonly edges: readonly { readonly parent: number; readonly child: number; readonly name: string }[];
}

/** The roots of block backends (devices, exports) by their name in the debug graph. */
export interface BlockGraph {
  readonly nodes: ReadonlyMap<string, GraphNode>;
  readonly roots: ReadonlyMap<string, string>;
}

/**
 * Joins the two views that QEMU gives of its block layer. `query-named-block-nodes` has no children before QEMU 10.1, and
 * `query-block` names only the root of each chain, so the edges come from `x-debug-query-block-graph` (since QEMU 4.0;
 * its name says unstable, but nothing else tells the node below a `#block` node).
 */
export function blockGraph(named: readonly NamedNode[], debug: DebugGraph): BlockGraph {
  const byId = new Map(debug.nodes.map((node) => [node.id, node]));
  const children = new Map<string, Map<string, string>>();
  const parents = new Map<string, number>();
  const roots = new Map<string, string>();
  for (const edge of debug.edges) {
    const parent = byId.get(edge.parent);
    const child = byId.get(edge.child);
    if (parent === undefined || child === undefined) continue;
    parents.set(child.name, (parents.get(child.name) ?? 0) + 1);
    if (parent.type === 'block-backend') roots.set(parent.name, child.name);
    if (parent.type !== 'block-driver') continue;
    const siblings = children.get(parent.name) ?? new Map<string, string>();
    siblings.set(edge.name, child.name);
    children.set(parent.name, siblings);
  }
  const nodes = new Map<string, GraphNode>();
  for (const node of named) {
    const name = node['node-name'];
    if (name === undefined) continue;
    nodes.set(name, {
      name,
      driver: node.drv,
      filename: node.file,
      readOnly: node.ro,
      children: children.get(name) ?? new Map(),
      parents: parents.get(name) ?? 0,
    });
  }
  return { nodes, roots };
}

/** Filters pass everything on to one child; a disk's chain begins below them. */
const FILTERS: ReadonlySet<string> = new Set([
  'throttle',
  'copy-on-read',
  'compress',
  'preallocate',
  'blkdebug',
  'blklogwrites',
  'blkverify',
  'blkreplay',
  'copy-before-write',
  'mirror_top',
  'commit_top',
  'backup-top',
]);

/** Drivers that read and write a file or device themselves: a chain ends there. */
function isProtocol(node: GraphNode): boolean {
  return !node.children.has('file') && !FILTERS.has(node.driver);
}

/** The nodes of one disk, from its root down. */
export interface NodeChain {
  readonly filters: readonly GraphNode[];
  /** Format node and the protocol node below it, active image first. They are the same where there is no format layer. */
  readonly images: readonly { readonly format: GraphNode; readonly file: GraphNode }[];
}

/** Follows a chain from the node that the device is attached to. A node that QEMU does not list ends it. */
export function nodeChain(graph: BlockGraph, root: string): NodeChain {
  const filters: GraphNode[] = [];
  const images: { format: GraphNode; file: GraphNode }[] = [];
  const seen = new Set<string>();
  let next: string | undefined = root;
  while (next !== undefined && !seen.has(next)) {
    seen.add(next);
    const node: GraphNode | undefined = graph.nodes.get(next);
    if (node === undefined) break;
    if (FILTERS.has(node.driver)) {
      if (images.length === 0) filters.push(node);
      next = node.children.get('file') ?? node.children.get('backing');
      continue;
    }
    images.push({ format: node, file: protocolBelow(graph, node) });
    next = node.children.get('backing');
  }
  return { filters, images };
}

function protocolBelow(graph: BlockGraph, format: GraphNode): GraphNode {
  let node = format;
  for (let depth = 0; depth < 16 && !isProtocol(node); depth++) {
    const below = graph.nodes.get(node.children.get('file') ?? '');
    if (below === undefined) break;
    node = below;
  }
  return node;
}
