import { ferryError, type FerryError, isFerryError } from '../../src/base/index.ts';
import { BLOCK_JOB_ABORT, BLOCK_JOB_TYPE, DOMAIN_STATE, ERR, LIFECYCLE } from '../../src/libvirt/index.ts';
import type { KnownDisk, KnownImage, KnownJob } from './domain-belief.ts';
import type { World } from './world.ts';

/** What a call does, one effect after the other. It stands still while what it yields is true. */
export type Steps = Generator<() => boolean, unknown, undefined>;

export type Arguments = Readonly<Record<string, unknown>>;

/** The events that are told of. */
export type SimEvent =
  | { readonly name: 'BLOCK_JOB_2'; readonly dst: string; readonly status: number }
  | { readonly name: 'LIFECYCLE'; readonly event: number };

/** What the calls see of libvirtd. */
export interface Insides {
  disk(call: string, path: unknown): KnownDisk;
  xml(): string;
  world(): World;
  tell(event: SimEvent): void;
  effect<T>(name: string, act: () => T, detail?: string): T;
  save(why: string): void;
  image(path: string): KnownImage;
  chain(path: string): readonly KnownImage[];
  conclude(disk: KnownDisk, job: KnownJob): Steps;
}

/** For the answer of a call whose caller is gone. */
export const nobodyWaits = (): void => undefined;

/** Something else may happen first. */
export const soon = (): boolean => false;

/** They change nothing, and wait for nobody. */
export const LOOKS: ReadonlySet<string> = new Set(['DOMAIN_GET_XML_DESC', 'DOMAIN_GET_STATE', 'CONNECT_GET_VERSION']);

// oxlint-disable require-yield -- a call that does one thing is a generator like the others
/** Every call that is made of a running domain. */
export const CALLS: { readonly [name: string]: (daemon: Insides, name: string, args: Arguments) => Steps } = {
  *DOMAIN_GET_XML_DESC(daemon) {
    return { xml: daemon.xml() };
  },

  *DOMAIN_GET_STATE(daemon) {
    const running = daemon.world().qemu.status === 'running';
    return { state: running ? DOMAIN_STATE.RUNNING : DOMAIN_STATE.PAUSED, reason: 0 };
  },

  *CONNECT_GET_VERSION(daemon) {
    return { hv_ver: daemon.world().qemu.behaviour.missesWrites ? 10_000_002n : 7_002_022n };
  },

  *DOMAIN_GET_BLOCK_JOB_INFO(daemon, name, { path }) {
    const { job } = daemon.disk(name, path);
    const found = job && daemon.world().qemu.jobs.get(job.id);
    if (found === undefined) return { found: 0, type: 0, bandwidth: 0n, cur: 0n, end: 0n };
    const { looked, copied, dirty } = found;
    const [cur, end] = looked ? [copied, copied + dirty.size] : [0, 0];
    const type = job?.kind === 'copy' ? BLOCK_JOB_TYPE.COPY : BLOCK_JOB_TYPE.ACTIVE_COMMIT;
    return { found: 1, type, bandwidth: 0n, cur: BigInt(cur), end: BigInt(end) };
  },

  *QEMU_DOMAIN_MONITOR_COMMAND(daemon, _name, { cmd }) {
    const world = daemon.world();
    const { execute, arguments: args } = JSON.parse(String(cmd)) as MonitorCommand;
    if (execute === 'query-named-block-nodes') return { result: JSON.stringify({ return: namedNodes(world) }) };
    const { 'node-name': node = '' } = args;
    try {
      daemon.effect('blockdev-del', () => world.qemu.deleteNode(node), node);
      return { result: '{"return": {}}' };
    } catch (error) {
      if (!isFerryError(error, 'QMP_COMMAND')) throw error;
      return { result: JSON.stringify({ error: { desc: error.message } }) };
    }
  },

  *DOMAIN_SUSPEND(daemon, name) {
    const { qemu, onCommand } = daemon.world();
    if (qemu.status === 'running') {
      onCommand(name, {});
      daemon.effect('stop', () => qemu.stop());
    }
    yield soon;
    daemon.save('suspended');
    daemon.tell({ name: 'LIFECYCLE', event: LIFECYCLE.SUSPENDED });
    return {};
  },

  *DOMAIN_RESUME(daemon) {
    const { qemu } = daemon.world();
    daemon.effect('cont', () => qemu.resume());
    daemon.tell({ name: 'LIFECYCLE', event: LIFECYCLE.RESUMED });
    yield soon;
    daemon.save('resumed');
    return {};
  },

  *DOMAIN_SNAPSHOT_CREATE_XML(daemon, name, { xml_desc: xml }) {
    const { qemu, onCommand } = daemon.world();
    const wanted = [...String(xml).matchAll(/<disk name='(\w+)' snapshot='external'.*?<source file='([^']*)'/g)];
    const pairs = wanted.map(([, target, path = '']) => ({
      disk: daemon.disk(name, target),
      overlay: daemon.image(path),
    }));
    for (const { disk } of pairs) refuseBusy(name, disk);
    for (const { overlay } of pairs) onCommand(name, { path: overlay.path });
    yield soon;
    const act = (): void => {
      for (const { overlay } of pairs) openOverlay(daemon.world(), overlay);
      qemu.snapshot(pairs.map(({ disk, overlay }) => ({ node: disk.images[0]?.node ?? '', overlay: overlay.node })));
    };
    daemon.effect('transaction', () => asLibvirt(name, act), pairs.map(({ overlay }) => overlay.path).join(', '));
    yield soon;
    for (const { disk, overlay } of pairs) disk.images = [overlay, ...disk.images];
    daemon.save('a snapshot');
    return { snap: { name: 'snap', dom: {} } };
  },

  *DOMAIN_BLOCK_COPY(daemon, name, { path: target, destxml }) {
    const disk = daemon.disk(name, target);
    refuseBusy(name, disk);
    const { qemu, onCommand } = daemon.world();
    const [, path = ''] = /<source file='([^']*)'/.exec(String(destxml)) ?? [];
    const image = daemon.image(path);
    const below = daemon.chain(path);
    onCommand(name, { disk: target, path });
    const job: KnownJob = { id: `copy-${disk.target}-${image.node}`, kind: 'copy', state: 'new', awaited: false };
    disk.job = job;
    daemon.save('a job is about to begin');
    yield soon;
    const act = (): void => {
      // On no chain, which it attaches when it pivots.
      openToWrite(daemon.world(), image);
      const device = disk.images[0]?.node ?? '';
      qemu.startMirror({ 'job-id': job.id, device, target: image.node, sync: 'top', 'auto-finalize': true });
    };
    daemon.effect('blockdev-mirror', () => begins(name, disk, act), path);
    disk.mirror = { image, below, kind: 'copy', ready: '' };
    yield soon;
    began(job);
    daemon.save('a job has begun');
    return {};
  },

  *DOMAIN_BLOCK_COMMIT(daemon, name, { disk: target, base }) {
    const disk = daemon.disk(name, target);
    refuseBusy(name, disk);
    const { qemu, onCommand } = daemon.world();
    const at = disk.images.findIndex(({ path }) => path === base);
    const image = disk.images[at];
    if (image === undefined || at === 0)
      throw ferryError('LIBVIRT_ERROR', errorFields(name, ERR.INVALID_ARG, `could not find image '${String(base)}'`));
    onCommand(name, { disk: target });
    const job: KnownJob = {
      id: `commit-${disk.target}-${disk.images[0]?.node}`,
      kind: 'active-commit',
      state: 'new',
      awaited: false,
    };
    disk.job = job;
    daemon.save('a job is about to begin');
    yield soon;
    const device = disk.images[0]?.node ?? '';
    const options = { 'job-id': job.id, device, 'base-node': image.node, 'auto-finalize': true };
    daemon.effect('block-commit', () => begins(name, disk, () => qemu.startCommit(options)), image.path);
    disk.mirror = { image, below: disk.images.slice(at + 1), kind: 'active-commit', ready: '' };
    yield soon;
    began(job);
    daemon.save('a job has begun');
    return {};
  },

  *DOMAIN_BLOCK_JOB_ABORT(daemon, name, { path, flags }) {
    const disk = daemon.disk(name, path);
    const { job, mirror } = disk;
    const { qemu } = daemon.world();
    if (job === undefined)
      throw ferryError('LIBVIRT_ERROR', errorFields(name, ERR.INVALID_ARG, `disk ${disk.target} has no active job`));
    if (job.state === 'pivoting' || job.state === 'aborting')
      throw ferryError('LIBVIRT_ERROR', errorFields(name, ERR.OPERATION_INVALID, 'the job is already ending'));
    if (((flags as number) & BLOCK_JOB_ABORT.PIVOT) === 0) {
      const cancel = (): void => {
        if (qemu.jobs.get(job.id)?.status !== 'concluded') qemu.cancel(job.id);
      };
      daemon.effect('block-job-cancel', () => asLibvirt(name, cancel), job.id);
      yield soon;
      job.state = 'aborting';
      if (mirror) mirror.ready = 'abort';
      daemon.save('a job is aborted');
      // What QEMU told of meanwhile.
      if (qemu.jobs.get(job.id)?.status === 'concluded') yield* daemon.conclude(disk, job);
      return {};
    }
    if (job.state !== 'ready' || mirror === undefined)
      throw ferryError('LIBVIRT_ERROR', errorFields(name, ERR.BLOCK_COPY_ACTIVE, 'not ready for pivot yet'));
    job.awaited = true;
    if (job.kind === 'copy') {
      const attach = (): void => {
        for (const [n, image] of mirror.below.entries().toArray().toReversed())
          open(daemon.world(), image, mirror.below[n + 1]?.node ?? null);
        const [top] = mirror.below;
        if (top) qemu.snapshot([{ node: top.node, overlay: mirror.image.node }]);
      };
      daemon.effect('mirror is put on its chain', () => asLibvirt(name, attach), mirror.image.path);
      yield soon;
    }
    daemon.effect('job-complete', () => asLibvirt(name, () => qemu.complete(job.id)), job.id);
    yield soon;
    job.state = 'pivoting';
    mirror.ready = 'pivot';
    daemon.save('a job is pivoted');
    yield () => !['concluded', undefined].includes(qemu.jobs.get(job.id)?.status);
    const failed = yield* daemon.conclude(disk, job);
    if (failed === true) throw ferryError('LIBVIRT_ERROR', errorFields(name, ERR.OPERATION_FAILED, 'the job failed'));
    return {};
  },
};
// oxlint-enable require-yield

interface MonitorCommand {
  readonly execute: string;
  readonly arguments: { readonly 'node-name'?: string };
}

/** Of each image both of its nodes, of which the simulated QEMU has one. */
function namedNodes({ qemu }: World): { readonly 'node-name': string; readonly file: string }[] {
  return [...qemu.nodes.values()].flatMap(({ name, path: file }) =>
    [...new Set([name, name.replace('-format', '-storage')])].map((each) => ({ 'node-name': each, file })),
  );
}

/** Opens an image in QEMU to write to it: one that it has open already is locked. */
function openToWrite(world: World, image: KnownImage): void {
  const inode = world.files.open(image.path);
  if (inode && world.qemu.opens(inode)) throw new Error(`Failed to get "write" lock: ${image.path}`);
  open(world, image, null);
}

/**
 * Opens the overlay of a snapshot. Of one that cannot be opened QEMU keeps the file open: libvirt takes back what it has opened only
 * where it has opened all (9.0, `qemuSnapshotDiskPrepareOneBlockdev`).
 */
function openOverlay(world: World, image: KnownImage): void {
  try {
    openToWrite(world, image);
  } catch (error) {
    // The simulated QEMU has no node of a file alone.
    if (world.files.open(image.path)) open(world, { ...image, node: image.node.replace('-format', '-storage') }, null);
    throw error;
  }
}

/** Opens an image in QEMU, on this node or on none. */
function open({ qemu }: World, { path, format, node }: KnownImage, below: string | null): void {
  const file = { driver: 'file', filename: path } as const;
  const options = { driver: format, 'node-name': node, file, ...(format === 'qcow2' && { backing: below }) };
  qemu.addNode(options);
}

function began(job: KnownJob): void {
  if (job.state === 'new') job.state = 'running';
}

/** A job that QEMU refuses is forgotten at once. */
function begins(call: string, disk: KnownDisk, act: () => void): void {
  try {
    asLibvirt(call, act);
  } catch (error) {
    delete disk.job;
    throw error;
  }
}

/** What QEMU refuses, libvirt refuses. */
function asLibvirt(call: string, act: () => void): void {
  try {
    act();
  } catch (error) {
    const message = `internal error: unable to execute QEMU command: ${(error as Error).message}`;
    throw ferryError('LIBVIRT_ERROR', errorFields(call, ERR.INTERNAL_ERROR, message));
  }
}

function refuseBusy(call: string, { target, job, mirror }: KnownDisk): void {
  if (job === undefined && mirror === undefined) return;
  const message = `disk '${target}' already in active block job`;
  throw ferryError('LIBVIRT_ERROR', errorFields(call, ERR.BLOCK_COPY_ACTIVE, message));
}

// oxlint-disable-next-line require-yield -- it is over at once
export function* fails(error: () => FerryError): Steps {
  throw error();
}

export function notRunning(call: string): FerryError {
  return ferryError('LIBVIRT_ERROR', errorFields(call, ERR.OPERATION_INVALID, 'domain is not running'));
}

export function errorFields(
  call: string,
  code: number,
  message: string,
): { call: string; message: string; code: number; domain: number; level: number } {
  return { call, message, code, domain: 10, level: 2 };
}

export function shown(args: Arguments): string {
  const { path, disk, base, destxml, xml_desc: xml } = args;
  return [path, disk, base, destxml, xml].filter((part) => typeof part === 'string').join(' ');
}
