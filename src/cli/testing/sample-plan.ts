import { DEFAULT_REQUEST, type MigrationPlan, type PlannedDisk } from '../../migration/index.ts';

const MiB = 2 ** 20;
const owner = { uid: 0, gid: 0, mode: 0o600 };

function disk(id: string, index: number): PlannedDisk {
  const name = (role: string): string => `bf-k3x9-${role}${index}`;
  return {
    id,
    size: 256 * MiB,
    folder: '/big',
    active: { node: `node-${id}`, path: `/fast/${id}.qcow2`, realPath: `/fast/${id}.qcow2`, format: 'qcow2' },
    depth: 1,
    target: `/big/${id}.qcow2`,
    sourceOverlay: `/fast/k3x9-${index}.overlay.qcow2`,
    targetOverlay: `/big/k3x9-${index}.overlay.qcow2`,
    owner,
    settings: { direct: false, detectZeroes: 'off', discard: 'ignore' },
    nodes: {
      source: name('src'),
      sourceFile: name('srcfile'),
      mirror: name('dst'),
      mirrorFile: name('dstfile'),
      base: name('base'),
    },
    jobs: { mirror: name('mirror'), fold: name('fold'), foldBack: name('back') },
    oldNodes: [`node-${id}`],
  };
}

/** Two disks on one shared base. */
export const samplePlan: MigrationPlan = {
  version: 1,
  id: 'k3x9',
  vm: { name: 'web 1', uuid: '', host: 'here', process: 'boot/7/8', pid: 7, address: '/run/web.sock' },
  request: { ...DEFAULT_REQUEST, to: '/big', bandwidth: 50 * MiB },
  disks: [disk('vda', 0), disk('vdb', 1)],
  copies: [
    {
      source: '/fast/base.raw',
      target: '/big/base.raw',
      format: 'raw',
      allocated: 100 * MiB,
      fileSize: 256 * MiB,
      owner,
      disks: ['vda', 'vdb'],
    },
    ...['vda', 'vdb'].map((id) => ({
      source: `/fast/${id}.qcow2`,
      target: `/big/${id}.qcow2`,
      format: 'qcow2' as const,
      allocated: 20 * MiB,
      fileSize: 20 * MiB,
      owner,
      disks: [id],
      backing: { name: 'base.raw', format: 'raw' as const },
    })),
  ],
  sourceFiles: [
    {
      path: '/fast/vda.qcow2',
      realPath: '/fast/vda.qcow2',
      dev: '1',
      ino: '2',
      action: 'remove',
      link: '/big/vda.qcow2',
    },
    {
      path: '/fast/vdb.qcow2',
      realPath: '/fast/vdb.qcow2',
      dev: '1',
      ino: '3',
      action: 'rename',
      renameTo: '/fast/vdb.qcow2.moved-k3x9',
    },
    {
      path: '/fast/base.raw',
      realPath: '/fast/base.raw',
      dev: '1',
      ino: '4',
      action: 'keep',
      reason: 'another VM stands on it',
    },
  ],
  left: [{ disk: 'cd0', reason: 'the drive is empty' }],
  storages: [{ folder: '/big', device: '9', role: 'target', free: 2 ** 30, needed: 160 * MiB, reserve: 8 * MiB }],
  notes: ["the VM's own start command still names /fast/vda.qcow2"],
  estimate: { copyBytes: 140 * MiB, writeRate: 1.5 * MiB, seconds: 9, holdMs: 12 },
};
