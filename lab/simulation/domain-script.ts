import { type Clock, isFerryError } from '../../src/base/index.ts';
import { BLOCK_COMMIT, BLOCK_JOB_ABORT, type RemoteDomain } from '../../src/libvirt/index.ts';
import type { Host } from '../../src/migration/index.ts';
import type { FoldJob, MirrorNode, NodeSettings, OverlayNode, VirtualMachine } from '../../src/vm/index.ts';
import { diskOf, type DomainImage, parseDomain } from '../../src/vm/libvirt/domain-xml.ts';
import { formatJobName } from '../../src/vm/libvirt/job-name.ts';
import type { Libvirtd } from '../../src/vm/libvirt/reach.ts';

/** A VM of libvirt that nobody migrates, real or simulated, and what the scripts do to it. */
export interface DomainStage {
  readonly vm: VirtualMachine;
  readonly dom: RemoteDomain;
  readonly host: Host;
  readonly clock: Clock;
  readonly source: string;
  readonly target: string;
  readonly disks: readonly { readonly id: string; readonly name: string; readonly format: 'raw' | 'qcow2' }[];
  readonly size: number;
  connect(): Promise<Libvirtd>;
  /** The guest writes a value to a block. */
  write(disk: string, block: number, value: number): Promise<void>;
  /**
   * kill -9 of libvirtd; resolves when it is back.
   * @param act what is done before, and libvirtd believes afterwards what it had written down before that
   */
  restart(act?: () => Promise<unknown>): Promise<void>;
}

const HOLD_MS = 10_000;
/** What is the same for that long stays so. */
const RESTS_MS = 200;
const SETTINGS: NodeSettings = { direct: false, detectZeroes: 'off', discard: 'unmap' };
const COMMIT = { top: null, bandwidth: 0n, flags: BLOCK_COMMIT.ACTIVE };
const OWNER = { uid: 0, gid: 0, mode: 0o600 };

const noStop = (): Promise<void> => Promise.resolve();

const above = (folder: string, id: string): string => `${folder}/${id}.overlay`;

/** The names of everything on a stage, and what one looks at after each step. */
class Script {
  readonly lines: string[] = [];
  readonly overlays: readonly OverlayNode[];
  readonly mirrors: readonly MirrorNode[];
  readonly folds: readonly FoldJob[];
  readonly #stage: DomainStage;

  constructor(stage: DomainStage) {
    const { source, target, disks } = stage;
    this.#stage = stage;
    const common = { settings: SETTINGS };
    this.overlays = disks.map(({ id, name }) => {
      const path = above(source, id);
      return { ...common, disk: id, node: path, path, base: `${source}/${name}` };
    });
    this.mirrors = disks.map(({ id, name }) => {
      const [from, to] = [above(source, id), above(target, id)];
      const job = formatJobName({ kind: 'copy', disk: id, from, to });
      return { ...common, disk: id, job, source: from, node: to, fileNode: '', path: to, base: `${target}/${name}` };
    });
    this.folds = disks.map(({ id, name }) => {
      const [from, to] = [above(target, id), `${target}/${name}`];
      return { disk: id, job: formatJobName({ kind: 'commit', disk: id, from, to }), overlay: from, base: to };
    });
  }

  /** The overlays on both sides, and the images below those of the target. */
  async prepare(): Promise<void> {
    const { host, source, target, disks, size } = this.#stage;
    for (const [n, { name, format }] of disks.entries()) {
      for (const path of [this.overlays[n]?.path ?? '', this.mirrors[n]?.path ?? ''])
        await host.createOverlay({ path, virtualSize: size, backing: { name, format }, owner: OWNER });
      await host.copyImage(
        {
          source: { path: `${source}/${name}` },
          target: `${target}/${name}`,
          owner: OWNER,
          frozenBy: [this.#stage.vm.identity.pid],
        },
        {},
      );
    }
  }

  /** Does one thing, and writes down what came of it and how everything stands then. */
  async does(what: string, act: () => Promise<unknown>): Promise<void> {
    let outcome = 'done';
    try {
      const answer = await act();
      if (typeof answer === 'boolean') outcome = String(answer);
    } catch (error) {
      if (!isFerryError(error)) throw error;
      outcome = `${error.code} ${String(error.fields['code'] ?? '')}`.trim();
    }
    this.lines.push(`${what}: ${outcome}; ${await this.#rests()}`);
  }

  /** A call, straight to libvirtd. */
  async calls(what: string, call: (client: Libvirtd, dom: RemoteDomain) => Promise<unknown>): Promise<void> {
    await this.does(what, async () => {
      await using client = await this.#stage.connect();
      await call(client, this.#stage.dom);
    });
  }

  async ready(jobs: readonly string[]): Promise<void> {
    const { vm } = this.#stage;
    while (!(await vm.jobs(jobs)).every(({ status }) => status === 'ready')) await vm.jobChange(jobs, 50);
  }

  /** How everything stands when nothing changes any more. */
  async #rests(): Promise<string> {
    for (let last = ''; ; ) {
      const now = await this.#look();
      if (now === last) return now;
      last = now;
      await this.#stage.clock.sleep(RESTS_MS);
    }
  }

  async #look(): Promise<string> {
    const { dom, disks, source, target } = this.#stage;
    await using client = await this.#stage.connect();
    const { xml } = await client.call('DOMAIN_GET_XML_DESC', { dom });
    const { state } = await client.call('DOMAIN_GET_STATE', { dom });
    const shown = (path = ''): string => path.replace(source, 'old').replace(target, 'new');
    const chain = (images: readonly DomainImage[]): string => images.map(({ path }) => shown(path)).join(' < ');
    const told = await Promise.all(
      disks.map(async ({ id }) => {
        const { images = [], mirror } = diskOf(parseDomain(xml), id) ?? {};
        const { found, type } = await client.call('DOMAIN_GET_BLOCK_JOB_INFO', { dom, path: id });
        const goes =
          mirror &&
          ` ~ ${[shown(mirror.path), chain(mirror.below)].filter(Boolean).join(' < ')} (${mirror.job}${mirror.ready ? ', ready' : ''})`;
        return `${id} ${chain(images)}${goes ?? ''}${found === 0 ? '' : ` [job ${type}]`}`;
      }),
    );
    return `state ${state}; ${told.join('; ')}`;
  }
}

/** One VM through everything that a migration does, and much that it must not. */
export async function domainScript(stage: DomainStage): Promise<readonly string[]> {
  const { vm, target } = stage;
  const script = new Script(stage);
  const { overlays, mirrors, folds } = script;
  const [id = ''] = stage.disks.map((disk) => disk.id);
  const copies = mirrors.map(({ job }) => job);
  const merges = folds.map(({ job }) => job);
  const begin = async (what: string): Promise<void> => {
    await script.does(what, async () => {
      await vm.startMirrors(mirrors, noStop);
      await vm.wake();
      await script.ready(copies);
    });
  };
  const fold = async (what: string): Promise<void> => {
    await script.does(what, async () => {
      await vm.startFolds(folds, noStop);
      await vm.wake();
      await script.ready(merges);
    });
  };
  const abort = (flags: number) => async (client: Libvirtd, dom: RemoteDomain) =>
    await client.call('DOMAIN_BLOCK_JOB_ABORT', { dom, path: id, flags });
  const commit = (base: string) => async (client: Libvirtd, dom: RemoteDomain) =>
    await client.call('DOMAIN_BLOCK_COMMIT', { ...COMMIT, dom, disk: id, base });

  await script.does('a snapshot onto files that are not there', () => vm.snapshot(overlays));
  await script.prepare();
  await stage.write(id, 0, 1);
  await script.does('the snapshot', () => vm.snapshot(overlays));
  await script.calls('an abort of no job', abort(0));
  await script.calls('a pivot of no job', abort(BLOCK_JOB_ABORT.PIVOT));
  await script.calls('a commit into an image of nobody', commit(`${target}/nobody`));
  await stage.write(id, 1, 2);

  await begin('the mirrors start');
  await script.does('they start once more', () => vm.startMirrors(mirrors, noStop));
  await script.does('a snapshot meanwhile', () => vm.snapshot(overlays));
  await script.calls('a commit meanwhile', commit(overlays[0]?.base ?? ''));
  await script.does('libvirtd is killed', () => stage.restart());
  await stage.write(id, 2, 3);
  await script.does('they are given up', () => vm.cancel(copies));
  await script.does('they are given up once more', () => vm.cancel(copies));
  await script.does('libvirtd is killed', () => stage.restart());

  await begin('the mirrors start');
  await script.does('the swap', () => vm.hold(copies, HOLD_MS, noStop));
  await script.does('libvirtd is killed', () => stage.restart());
  await script.does('the disks are taken back', () => vm.cancel(copies));
  await script.does('the guest goes on', () => vm.wake());
  await stage.write(id, 3, 4);

  await begin('the mirrors start');
  await script.does('the swap', () => vm.hold(copies, HOLD_MS, noStop));
  await script.does('its jobs are settled', () => vm.settle(copies));
  await script.does('the guest goes on', () => vm.wake());
  await script.does('it goes on once more', () => vm.wake());
  await stage.write(id, 0, 5);

  await fold('a fold');
  await script.does('libvirtd is killed', () => stage.restart());
  await stage.write(id, 1, 6);
  await script.does('it is given up', () => vm.cancel(merges));
  await fold('a fold');
  await script.does('it is held', () => vm.hold(merges, HOLD_MS, noStop));
  await script.does('the overlays are put back', () => vm.cancel(merges));
  await script.does('the guest goes on', () => vm.wake());
  await stage.write(id, 1, 7);
  await fold('a fold');
  await script.does('it is held', () => vm.hold(merges, HOLD_MS, noStop));
  await script.does('its jobs are settled', () => vm.settle(merges));
  await script.does('the guest goes on', () => vm.wake());

  const onTarget = mirrors.map(({ disk, path, base, settings }) => ({ disk, node: path, path, base, settings }));
  await script.does('a snapshot', () => vm.snapshot(onTarget));
  await script.does('the snapshot once more', () => vm.snapshot(onTarget));
  await fold('a fold');
  await script.does('it is held', () => vm.hold(merges, HOLD_MS, noStop));
  for (const { path } of onTarget) await script.does('whether an overlay is open', () => vm.isOpen(path));
  await script.does('the guest goes on', () => vm.wake());
  await stage.write(id, 2, 8);
  return script.lines;
}

/**
 * Four disks of one VM, with each of which something else is done just before libvirtd is killed, and none of it is written down:
 * a snapshot, the start of a mirror, the pivot of a mirror, and that of a fold.
 */
export async function forgetfulScript(stage: DomainStage): Promise<readonly string[]> {
  const { vm } = stage;
  const script = new Script(stage);
  const { overlays, mirrors, folds } = script;
  await script.prepare();
  await script.does('snapshots', () => vm.snapshot(overlays.slice(1)));
  await script.does('mirrors', async () => {
    await vm.startMirrors(mirrors.slice(2), noStop);
    await vm.wake();
    await script.ready(mirrors.slice(2).map(({ job }) => job));
  });
  const [copy = '', swapped = '', done = ''] = mirrors.slice(1).map(({ job }) => job);
  const merge = folds[3]?.job ?? '';
  await script.does('a swap of the last', () => vm.hold([done], HOLD_MS, noStop));
  await script.does('its fold', async () => {
    await vm.startFolds(folds.slice(3), noStop);
    await script.ready([merge]);
  });
  await script.does('libvirtd forgets', () =>
    stage.restart(async () => {
      await vm.snapshot(overlays.slice(0, 1));
      await vm.startMirrors(mirrors.slice(1, 2), noStop);
      await script.ready([copy]);
      await vm.hold([swapped], HOLD_MS, noStop);
      await vm.hold([merge], HOLD_MS, noStop);
    }),
  );
  await script.does('whether the overlay is in a chain', () => vm.hasBacking(overlays[0]?.path ?? ''));
  for (const job of [copy, swapped, merge]) {
    const [about] = job.split(' /');
    await script.does(`how it stands: ${about}`, () => vm.jobs([job]));
    await script.does(`given up: ${about}`, () => vm.cancel([job]));
  }
  await script.does('the guest goes on', () => vm.wake());
  return script.lines;
}
