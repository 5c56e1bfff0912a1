// What becomes of a guest's reads when another node is opened on the image below its overlay, as mirrors are: QEMU 7.2 then takes
// another descriptor for the image and closes the one under them ("Bad file descriptor"), unless the VM is stopped.
//
//     node bench/open-under-reads.ts [--build installed|backports] [--stopped] [--rounds 300]
//
// A guest reads three disks with a queue of 32 each. In each round the images below are reopened, which makes QEMU forget how they
// were opened, and a node is opened on each. Ends at the first I/O error that QEMU reports, or after the rounds.
import { join } from 'node:path';
import { buildOption } from '../lab/build-option.ts';
import { Lab, type LabDisk } from '../lab/index.ts';
import { programOptions } from '../lab/program-options.ts';
import { QmpClient } from '../src/qmp/index.ts';

const MiB = 2 ** 20;
const USAGE = `
usage: node bench/open-under-reads.ts [options]

  --build LABEL   the QEMU: installed (default), backports
  --stopped       the VM is stopped while the nodes are opened
  --rounds N      how many at most (default: 300)
`;
const { values, number } = programOptions(USAGE, {
  build: { type: 'string' },
  stopped: { type: 'boolean', default: false },
  rounds: { type: 'string', default: '300' },
});
const rounds = number('rounds');

await using lab = await Lab.open({ name: 'open under reads', build: await buildOption(values.build) });
const folder = await lab.storage('images');
const disks: (LabDisk & { readonly path: string })[] = [];
for (const id of ['a', 'b', 'c']) {
  const path = join(folder, `${id}.raw`);
  await lab.image({ path, format: 'raw', size: 32 * MiB, fill: { bytes: 32 * MiB, seed: 1 } });
  for (const name of ['overlay', 'twin']) {
    await lab.image({ path: join(folder, `${id}.${name}`), format: 'qcow2', backing: { path, format: 'raw' } });
  }
  disks.push({ id, path, format: 'raw', iothread: `io-${id}` });
}
const vm = await lab.startVm({ name: 'vm', warm: disks.map(() => 32 * MiB), disks });
await vm.booted();
await using qmp = await QmpClient.connect({ path: vm.qmpPath });
using errors = qmp.listen((event) => event.event === 'BLOCK_IO_ERROR');

const nodes = new Map(
  (await qmp.execute('query-block')).flatMap(({ qdev, inserted }) => {
    const disk = disks.find(({ id }) => qdev === id || qdev?.includes(`/${id}/`));
    const node = inserted?.['node-name'];
    return disk && node !== undefined ? [[disk, node] as const] : [];
  }),
);
const open = async (node: string, filename: string, backing: string | null): Promise<unknown> =>
  await qmp.execute('blockdev-add', {
    driver: 'qcow2',
    'node-name': node,
    backing,
    file: { driver: 'file', filename },
  });
for (const { id } of nodes.keys()) await open(`overlay-${id}`, join(folder, `${id}.overlay`), null);
await qmp.execute('transaction', {
  actions: [...nodes].map(([{ id }, node]) => {
    return { type: 'blockdev-snapshot' as const, data: { node, overlay: `overlay-${id}` } };
  }),
});
for (const { id } of disks) await vm.startFio({ disk: id, pattern: 'randread', depth: 32 });

let round = 0;
let failed = false;
while (round < rounds && !failed) {
  round += 1;
  await qmp.execute('blockdev-reopen', {
    options: [...nodes].map(([{ path }, node]) => {
      return { driver: 'raw', 'node-name': node, 'read-only': false, file: { driver: 'file', filename: path } };
    }),
  });
  if (values.stopped) await qmp.execute('stop');
  for (const [{ id }, node] of nodes) await open(`twin-${id}`, join(folder, `${id}.twin`), node);
  if (values.stopped) await qmp.execute('cont');
  for (const { id } of nodes.keys()) await qmp.execute('blockdev-del', { 'node-name': `twin-${id}` });
  failed = await errors.next({ signal: AbortSignal.timeout(20) }).then(
    () => true,
    () => false,
  );
}
const how = values.stopped ? 'while the VM was stopped' : 'while it ran';
console.log(
  `QEMU ${lab.build.version}, ${how}: ${failed ? `an I/O error in round ${round}` : `no error in ${round} rounds`}`,
);
await vm.kill();
