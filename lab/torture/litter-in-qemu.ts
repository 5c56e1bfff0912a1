interface Graph {
  readonly nodes: readonly { readonly id: number; readonly type: string; readonly name: string }[];
  readonly edges: readonly { readonly parent: number; readonly child: number }[];
}

/**
 * What is wrong with a QEMU that lives on, in words: jobs, nodes that no device stands on, a guest that is stopped.
 * @param execute sends a QMP command
 */
export async function litterInQemu(execute: (command: string) => Promise<unknown>): Promise<string[]> {
  const jobs = (await execute('query-jobs')) as readonly { readonly id: string }[];
  const { status } = (await execute('query-status')) as { readonly status: string };
  const graph = (await execute('x-debug-query-block-graph')) as Graph;
  return [
    ...jobs.map(({ id }) => `job ${id}`),
    ...(status === 'running' ? [] : [`the VM is ${status}`]),
    ...unused(graph).map((name) => `node ${name}, which nothing stands on`),
  ];
}

/** The nodes that no device reaches. */
function unused({ nodes, edges }: Graph): string[] {
  const reached = new Set(nodes.filter(({ type }) => type === 'block-backend').map(({ id }) => id));
  for (let size = -1; size !== reached.size; ) {
    size = reached.size;
    for (const { parent, child } of edges) if (reached.has(parent)) reached.add(child);
  }
  return nodes.filter(({ id, type }) => type === 'block-driver' && !reached.has(id)).map(({ name }) => name);
}
