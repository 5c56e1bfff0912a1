import { chmod, chown, mkdir, rename, stat, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { makeEncryptedImage } from '../../../lab/encrypted-image.ts';
import { migrate, traces } from '../../../lab/engine.ts';
import { FaultyDisk, Lab, type LabVm, smallFilesystem, whyNoMount } from '../../../lab/index.ts';
import { isFerryError, run } from '../../base/index.ts';
import { Journal } from '../../journal/index.ts';
import { QmpClient } from '../../qmp/index.ts';
import type { MigrationRequest } from './request.ts';

const MiB = 2 ** 20;

/** The codes of all reasons for which the plan refuses. */
async function reasons(promise: Promise<unknown>): Promise<string[]> {
  try {
    await promise;
  } catch (error) {
    if (!isFerryError(error, 'PLAN_REFUSED')) throw error;
    const { refusals } = error.details as { refusals: readonly { code: string }[] };
    return refusals.map(({ code }) => code).toSorted();
  }
  return ['not refused'];
}

/** Each drive of this VM is one that is not moved, and why. The VM has no guest: nothing here gets as far as one. */
const DRIVES = {
  shareable: 'DISK_SHAREABLE',
  readonly: 'DISK_STAYS',
  empty: 'DISK_STAYS',
  json: 'BACKING_PROTOCOL',
  remote: 'DISK_NOT_A_FILE',
  'remote-backing': 'DISK_NOT_A_FILE',
  datafile: 'IMAGE_DATA_FILE',
  encrypted: 'IMAGE_ENCRYPTED',
  transient: 'DISK_BITMAPS',
  throttled: 'DISK_FILTER',
  vmdk: 'IMAGE_FORMAT_UNSUPPORTED',
  differs: 'DISK_CHAIN_DIFFERS',
  replaced: 'DISK_FILE_NOT_FOUND',
  nowhere: 'NO_SUCH_DISK',
} as const;

let lab: Lab;
let vm: LabVm;
let source: string;
let target: string;
let stateDir: string;

const at = (name: string): string => join(source, name);
const request = async (asked: Partial<MigrationRequest>): Promise<string[]> =>
  await reasons(migrate(vm, { stateDir, request: asked }));
const img = async (...args: readonly string[]): Promise<unknown> =>
  await run(lab.build.img, [...args], { env: { ...process.env, ...lab.build.env } });

/** Makes the images, and returns the `-blockdev` nodes `n-NAME` that are opened on them. */
async function makeDrives(socket: string): Promise<object[]> {
  const plain = ['good', 'shareable', 'readonly', 'transient', 'persistent', 'throttled', 'base', 'other', 'replaced'];
  for (const name of plain) await lab.image({ path: at(name), format: 'qcow2', size: MiB });
  await mkdir(at('folder'));
  await lab.image({ path: at('folder/good'), format: 'qcow2', size: MiB });
  await img('bitmap', '--add', at('persistent'), 'kept');
  const json = `json:${JSON.stringify({ driver: 'qcow2', file: { driver: 'file', filename: at('base') } })}`;
  for (const [name, format, backing] of [
    ['differs', 'qcow2', at('base')],
    ['json', 'qcow2', json],
    ['remote-backing', 'raw', `nbd+unix:///?socket=${socket}`],
  ] as const) {
    await img('create', '-q', '-u', '-f', 'qcow2', '-F', format, '-b', backing, at(name), '1M');
  }
  await img('create', '-q', '-f', 'qcow2', '-o', `data_file=${at('data')}`, at('datafile'), '1M');
  await img('create', '-q', '-f', 'vmdk', at('vmdk'), '1M');
  await makeEncryptedImage(at('encrypted'), '1234', lab.build.img);

  const node = (name: string, more: object = {}): object => {
    const file = { driver: 'file', filename: at(name) };
    return { driver: 'qcow2', 'node-name': `n-${name}`, file, ...more };
  };
  return [
    ...['good', 'shareable', 'transient', 'persistent', 'json', 'remote-backing', 'datafile', 'replaced'].map((name) =>
      node(name),
    ),
    node('folder/good', { 'node-name': 'n-namesake' }),
    node('readonly', { 'read-only': true }),
    node('encrypted', { encrypt: { format: 'luks', 'key-secret': 's' } }),
    node('other', { 'read-only': true }),
    node('differs', { backing: 'n-other' }),
    node('vmdk', { driver: 'vmdk' }),
    node('throttled', { 'node-name': 'below' }),
    { driver: 'throttle', 'node-name': 'n-throttled', file: 'below', 'throttle-group': 'limit' },
    { driver: 'nbd', 'node-name': 'n-remote', server: { type: 'unix', path: socket } },
  ];
}

beforeAll(async () => {
  lab = await Lab.open({ name: 'refusals' });
  source = await lab.storage('source');
  target = await lab.storage('target');
  stateDir = await lab.storage('state');
  const remote = await FaultyDisk.start({ size: MiB });
  lab.defer(() => remote[Symbol.asyncDispose]());
  const nodes = await makeDrives(remote.socket);
  const drives = [...Object.keys(DRIVES), 'good', 'persistent', 'namesake'].filter(
    (id) => !['empty', 'nowhere'].includes(id),
  );
  vm = await lab.startVm({
    name: 'stubborn',
    boot: false,
    disks: [{ id: 'empty', cdrom: true }],
    extraArgs: [
      '-object',
      'secret,id=s,data=1234',
      '-object',
      'throttle-group,id=limit,x-iops-total=1000',
      ...nodes.flatMap((options) => ['-blockdev', JSON.stringify(options)]),
      ...drives.flatMap((id) => [
        '-device',
        `virtio-blk-pci,id=${id},drive=n-${id}${id === 'shareable' ? ',share-rw=on' : ''}`,
      ]),
    ],
  });
  await using qmp = await QmpClient.connect({ path: vm.qmpPath });
  await qmp.execute('block-dirty-bitmap-add', { node: 'n-transient', name: 'passing' });
  await rename(at('replaced'), at('replaced.was'));
  await lab.image({ path: at('replaced'), format: 'qcow2', size: MiB });
});

afterAll(async () => {
  await lab[Symbol.asyncDispose]();
});

describe('a migration is refused before anything is touched', () => {
  test('for what a disk is, each reason said, alone and together', async () => {
    const before = await traces(vm, [source, target]);
    const names = Object.keys(DRIVES).map((name) => ({ name }));
    expect(await request({ to: target, disks: names })).toEqual(Object.values(DRIVES).toSorted());
    for (const name of ['datafile', 'json', 'replaced'] as const) {
      expect(await request({ to: target, disks: [{ name: 'good' }, { name }] }), name).toEqual([DRIVES[name]]);
    }
    expect(await request({ to: target, disks: [{ name: 'persistent' }], fold: false })).toEqual(['DISK_BITMAPS']);
    expect(await traces(vm, [source, target])).toEqual(before);
    using journal = Journal.open(stateDir, { readOnly: true });
    expect(journal.migrations()).toEqual([]);
  });

  test('for where it is to go', async () => {
    await writeFile(at('file'), '');
    await mkdir(at('below'));
    await symlink(at('below'), join(lab.folder, 'link into the source'));
    await writeFile(join(target, 'persistent'), '');
    const before = await traces(vm, [source, target]);
    const good = async (to: string | undefined): Promise<string[]> =>
      await request({ ...(to !== undefined && { to }), disks: [{ name: 'good' }] });
    expect(await good(undefined)).toEqual(['NO_TARGET']);
    expect(await good(join(lab.folder, 'nothing'))).toEqual(['TARGET_FOLDER']);
    expect(await good(at('file'))).toEqual(['TARGET_FOLDER']);
    expect(await good(source)).toContain('TARGET_INSIDE_SOURCE');
    expect(await good(at('below'))).toEqual(['TARGET_INSIDE_SOURCE']);
    expect(await good(join(lab.folder, 'link into the source'))).toEqual(['TARGET_INSIDE_SOURCE']);
    expect(await request({ to: target, disks: [{ name: 'persistent' }] })).toEqual(['TARGET_NAME_TAKEN']);
    expect(await request({ to: target, disks: [{ name: 'good' }, { name: 'namesake' }] })).toEqual([
      'TARGET_NAME_CLASH',
    ]);
    expect(await traces(vm, [source, target])).toEqual(before);
  });

  test('for what goes on in the VM', async () => {
    await using qmp = await QmpClient.connect({ path: vm.qmpPath });
    await qmp.execute('blockdev-add', { driver: 'null-co', 'node-name': 'nothing', size: MiB });
    await qmp.execute('blockdev-backup', {
      'job-id': 'busy',
      device: 'n-good',
      target: 'nothing',
      sync: 'none',
    });
    await qmp[Symbol.asyncDispose]();
    const before = await traces(vm, [source, target]);
    // A backup puts a filter above the disk, which is gone when the backup is over: the job is the reason.
    expect(await request({ to: target, disks: [{ name: 'good' }] })).toEqual(['VM_HAS_JOB']);
    expect(await traces(vm, [source, target])).toEqual(before);
    await using again = await QmpClient.connect({ path: vm.qmpPath });
    using ended = again.listen(({ event, data }) => event === 'BLOCK_JOB_CANCELLED' && data.device === 'busy');
    await again.execute('job-cancel', { id: 'busy' });
    await ended.next();
    const coming = await lab.startVm({
      name: 'coming',
      boot: false,
      disks: [{ id: 'cd', cdrom: true }],
      extraArgs: ['-incoming', 'defer'],
    });
    expect(await reasons(migrate(coming, { stateDir, request: { to: target } }))).toEqual([
      'NO_DISK_TO_MOVE',
      'VM_IS_MIGRATING',
    ]);
  });
});

const noRoot = process.getuid?.() === 0 ? undefined : 'only root can run QEMU as another user';
if (noRoot !== undefined) console.warn(`not tested: a QEMU of another user (${noRoot})`);

test.skipIf(noRoot)('a QEMU of another user: refused where it may not go, and its images stay its own', async () => {
  await using own = await Lab.open({ name: 'other user' });
  const [from, to, state] = [await own.storage('from'), await own.storage('to'), await own.storage('state')];
  const path = join(from, 'a.qcow2');
  await own.image({ path, format: 'qcow2', size: 4 * MiB, fill: { bytes: MiB, seed: 1 } });
  const { stdout } = await run('id', ['-u', 'nobody']);
  const nobody = Number(stdout);
  await chown(path, nobody, nobody);
  await chmod(path, 0o600);
  for (const folder of [own.folder, from]) await chmod(folder, 0o711);
  await chmod(to, 0o700);
  const other = await own.startVm({
    name: 'other user',
    boot: false,
    disks: [{ id: 'a', path, format: 'qcow2' }],
    extraArgs: ['-runas', 'nobody'],
  });
  const before = await traces(other, [from, to]);
  expect(await reasons(migrate(other, { stateDir: state, request: { to } }))).toEqual(['TARGET_NOT_OPENABLE']);
  expect(await traces(other, [from, to])).toEqual(before);

  await chmod(to, 0o711);
  const { outcome, events } = await migrate(other, { stateDir: state, request: { to } });
  expect(outcome.kind, JSON.stringify(events.filter(({ type }) => type === 'failed'))).toBe('done');
  const { uid, mode } = await stat(join(to, 'a.qcow2'));
  expect([uid, mode & 0o777]).toEqual([nobody, 0o600]);
});

const noMount = await whyNoMount();
if (noMount !== undefined) console.warn(`not tested: a target that is too small (${noMount})`);

test.skipIf(noMount)('a target with too little space', async () => {
  await using small = await smallFilesystem({ size: 16 * MiB });
  const before = await traces(vm, [source, small.path]);
  expect(await request({ to: small.path, disks: [{ name: 'persistent' }] })).toEqual(['SPACE_TOO_LITTLE']);
  expect(await traces(vm, [source, small.path])).toEqual(before);
});
