import type { Disk, Inventory } from '../../../vm/index.ts';

/** A VM over QMP that runs with these disks. */
export function inventoryOf(name: string, disks: readonly Disk[]): Inventory {
  return {
    identity: { name, uuid: '', host: 'h', process: 'b/1/1', pid: 1, address: '/run/a.qmp' },
    status: 'running',
    version: '10.0.2',
    disks,
    jobs: [],
    nodes: [],
    sharedNodes: [],
  };
}
