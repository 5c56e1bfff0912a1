import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { type BlockGraph, blockGraph, nodeChain } from './block-graph.ts';

/** A graph from `parent.role=child` lines; nodes are `name:driver`, `*name` is a device's root. */
function graph(nodes: readonly string[], edges: readonly string[]): BlockGraph {
  const named = nodes.map((node) => {
    const [name = '', drv = ''] = node.split(':');
    return { 'node-name': name, drv, file: `/${name}`, ro: false };
  });
  const roots = edges.filter((edge) => edge.startsWith('*')).map((edge) => edge.slice(1));
  const all = [...named.map((node) => node['node-name']), ...roots.map((root) => `device ${root}`)];
  const id = (name: string): number => all.indexOf(name);
  return blockGraph(named, {
    nodes: all.map((name, index) => ({
      id: index,
      name,
      type: name.startsWith('device ') ? 'block-backend' : 'block-driver',
    })),
    edges: [
      ...roots.map((root) => ({ parent: id(`device ${root}`), child: id(root), name: 'root' })),
      ...edges
        .filter((edge) => !edge.startsWith('*'))
        .map((edge) => {
          const [parent = '', role = '', child = ''] = edge.split(/[.=]/);
          return { parent: id(parent), child: id(child), name: role };
        }),
    ],
  });
}

const chainOf = (of: BlockGraph, root: string): { filters: string[]; images: string[][] } => {
  const { filters, images } = nodeChain(of, root);
  return {
    filters: filters.map(({ name }) => name),
    images: images.map(({ format, file }) => [format.name, file.name]),
  };
};

describe('the chain of a disk', () => {
  test('goes down by the backing images, each with its file', () => {
    const of = graph(
      ['top:qcow2', 'ftop:file', 'base:raw', 'fbase:host_device'],
      ['*top', 'top.file=ftop', 'top.backing=base', 'base.file=fbase'],
    );
    expect(chainOf(of, 'top')).toEqual({
      filters: [],
      images: [
        ['top', 'ftop'],
        ['base', 'fbase'],
      ],
    });
    expect(of.roots.get('device top')).toBe('top');
  });

  test('begins below the filters, which are told', () => {
    const of = graph(
      ['limit:throttle', 'cor:copy-on-read', 'top:qcow2', 'f:file'],
      ['*limit', 'limit.file=cor', 'cor.file=top', 'top.file=f'],
    );
    expect(chainOf(of, 'limit')).toEqual({ filters: ['limit', 'cor'], images: [['top', 'f']] });
  });

  test('of a file without a format layer is that file', () => {
    expect(chainOf(graph(['f:file'], ['*f']), 'f').images).toEqual([['f', 'f']]);
  });

  test('passes by a filter between a format and its file', () => {
    const of = graph(
      ['top:raw', 'debug:blkdebug', 'f:file'],
      ['*top', 'top.file=debug', 'debug.image=f', 'debug.file=f'],
    );
    expect(chainOf(of, 'top').images).toEqual([['top', 'f']]);
  });

  test('counts everybody that holds a shared base', () => {
    const of = graph(['a:qcow2', 'b:qcow2', 'base:raw'], ['*a', '*b', 'a.backing=base', 'b.backing=base']);
    expect(of.nodes.get('base')?.parents).toBe(2);
    expect(of.nodes.get('a')?.parents).toBe(1);
  });

  test('ends, whatever leads where', () => {
    const nodes = ['a', 'b', 'c', 'd'];
    const edge = fc
      .tuple(fc.constantFrom(...nodes), fc.constantFrom('file', 'backing'), fc.constantFrom(...nodes))
      .map(([parent, role, child]) => `${parent}.${role}=${child}`);
    const drivers = fc.array(fc.constantFrom('qcow2', 'raw', 'throttle', 'file'), { minLength: 4, maxLength: 4 });
    fc.assert(
      fc.property(fc.array(edge), drivers, (edges, kinds) => {
        const of = graph(
          nodes.map((node, n) => `${node}:${kinds[n]}`),
          edges,
        );
        const { filters, images } = nodeChain(of, 'a');
        const seen = [...filters, ...images.map(({ format }) => format)].map(({ name }) => name);
        expect(new Set(seen).size).toBe(seen.length);
      }),
    );
  });
});
