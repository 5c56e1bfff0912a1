/** A snapshot and the name of its parent, where that is to be drawn above it. */
export interface TreeNode {
  readonly name: string;
  readonly parent?: string | undefined;
}

/** Draws snapshots below their parents, in the order given, as `virsh snapshot-list --tree` does. */
export function treeLines(nodes: readonly TreeNode[]): string {
  const children = Map.groupBy(nodes, ({ parent }) => parent);
  const lines: string[] = [];
  const draw = (name: string, indent: string, place: { readonly root: boolean; readonly last: boolean }): void => {
    lines.push(`${indent}${place.root ? '' : '+- '}${name}`);
    const inner = place.root ? indent : `${indent}${place.last ? '  ' : '| '}`;
    const below = children.get(name) ?? [];
    if (below.length > 0) lines.push(`${inner}  |`);
    for (const child of below) draw(child.name, `${inner}  `, { root: false, last: child === below.at(-1) });
    // Nothing below, and the last of its group: the group is closed by a line of the indentation alone.
    if (below.length === 0 && place.last) lines.push(inner);
  };
  for (const root of children.get(undefined) ?? []) draw(root.name, '', { root: true, last: true });
  return lines.map((line) => `${line}\n`).join('');
}
