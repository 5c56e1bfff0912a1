import { execFileSync } from 'node:child_process';
import { chmodSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { LibvirtClient } from '../../src/libvirt/index.ts';
import {
  type CommandOutcome,
  LibvirtSnapshotHost,
  runSnapshotCommand,
  SNAPSHOT_USAGE,
} from '../../src/snapshots/index.ts';
import { libvirtCodeOf } from '../../src/snapshots/snapshot-driver.ts';
import type { Lab, LabLibvirtd } from '../index.ts';
import { type FileAfter, OLD_VERSION, TARGET_VERSION, type VirshCase } from './corpus.ts';
import { freshTestDriver } from './fresh-test-driver.ts';
import { lineDiff } from './line-diff.ts';
import type { Outcome } from './run-case.ts';

/** Where the corpus has its images; a case gets a folder of its own in its place. */
const IMAGES = '/images';
const OUR_COMMANDS: ReadonlySet<string> = new Set(SNAPSHOT_USAGE.map(({ name }) => name));

/**
 * Runs the cases of the kind `virsh` through blockferry's commands, on a libvirtd of the lab. Commands that are not about
 * snapshots are only means: virsh itself, or libvirt's call, carries them out, and their texts are not compared.
 */
export class VirshRunner {
  readonly #folder: string;
  readonly #lab: Lab;
  readonly #daemon: LabLibvirtd;
  readonly #version: string;

  private constructor(folder: string, lab: Lab, daemon: LabLibvirtd, version: string) {
    this.#folder = folder;
    this.#lab = lab;
    this.#daemon = daemon;
    this.#version = version;
  }

  static async open(folder: string, lab: Lab, daemon: LabLibvirtd): Promise<VirshRunner> {
    await using client = await LibvirtClient.connect(daemon.uri('test'));
    const { lib_ver: number } = await client.call('CONNECT_GET_LIB_VERSION');
    const version = `${number / 1_000_000n}.${(number / 1000n) % 1000n}.${number % 1000n}`;
    return new VirshRunner(folder, lab, daemon, version);
  }

  async run(one: VirshCase): Promise<Outcome> {
    if (one.profile === 'libvirt-unpatched') {
      return { result: 'skipped', reason: 'what a libvirt without mirrors answers; blockferry refuses to ask it' };
    }
    if (one.versions !== undefined && !one.versions.includes(this.#version)) {
      return {
        result: 'skipped',
        reason: `only true for libvirt ${one.versions.join(', ')}, and this is ${this.#version}`,
      };
    }
    const departure = departureOf(one);
    if (departure !== undefined) return { result: 'skipped', reason: departure };
    process.env['TZ'] = 'UTC';
    try {
      const diff = await this.#judge(one);
      return diff === '' ? { result: 'passed' } : { result: 'failed', diff };
    } catch (error) {
      return { result: 'failed', diff: error instanceof Error ? (error.stack ?? error.message) : String(error) };
    }
  }

  async #judge(one: VirshCase): Promise<string> {
    const work = join(this.#lab.folder, one.id);
    const scene = new Scene(one, work, this.#folder);
    scene.make();
    try {
      await using client = await this.#connect(one, scene);
      const outcomes: (CommandOutcome | undefined)[] = [];
      for (const { argv } of one.steps) outcomes.push(await this.#step(client, scene, argv));
      const files = one.filesAfter === undefined ? undefined : await scene.files(this.#lab);
      // virsh 11.3 is followed where it differs from 9.0; the driver answers as the libvirt that is installed does.
      const versions = [this.#version === TARGET_VERSION ? TARGET_VERSION : OLD_VERSION, TARGET_VERSION];
      const diffs = versions.map((version) => compare({ ...one, ...one.byVersion?.[version] }, outcomes, files));
      return diffs.includes('') ? '' : (diffs[0] ?? '');
    } finally {
      await this.#tidy(one);
      rmSync(work, { recursive: true, force: true });
    }
  }

  async #connect(one: VirshCase, scene: Scene): Promise<LibvirtClient> {
    const options = { readOnly: one.readonly === true };
    if (one.driver === 'qemu') {
      const client = await LibvirtClient.connect(this.#daemon.uri('qemu'), options);
      if (one.fixture !== undefined) {
        await client.call('DOMAIN_DEFINE_XML_FLAGS', { xml: readFileSync(scene.fixture, 'utf8') });
      }
      return client;
    }
    if (one.fixture !== undefined) {
      return await LibvirtClient.connect(`test+unix://${scene.fixture}?socket=${this.#daemon.socket}`, options);
    }
    return await freshTestDriver(this.#daemon, options);
  }

  async #step(client: LibvirtClient, scene: Scene, argv: readonly string[]): Promise<CommandOutcome | undefined> {
    const sent = argv.map((word) => scene.send(word));
    const [command = ''] = argv;
    if (!OUR_COMMANDS.has(command)) {
      await this.#means(client, scene, sent);
      return undefined;
    }
    const context = { host: new LibvirtSnapshotHost(client), cwd: scene.work, edit: scene.edit };
    const { stdout, stderr, ...rest } = await runSnapshotCommand(context, sent);
    return { stdout: scene.receive(stdout), stderr: scene.receive(stderr), ...rest };
  }

  /** A command that is not about snapshots. It may be meant to fail. */
  async #means(client: LibvirtClient, scene: Scene, argv: readonly string[]): Promise<void> {
    const { one } = scene;
    // A test driver with a file of its own is another one for each connection.
    if (one.driver === 'test' && one.fixture !== undefined) return await callDirectly(client, argv);
    try {
      execFileSync('virsh', ['-c', this.#daemon.uri(one.driver), ...argv], { cwd: scene.work, stdio: 'pipe' });
    } catch (error) {
      if (error instanceof Error && 'status' in error && error.status === 1) return;
      throw error;
    }
  }

  async #tidy(one: VirshCase): Promise<void> {
    if (one.driver !== 'qemu') return;
    await using client = await LibvirtClient.connect(this.#daemon.uri('qemu'));
    const { domains } = await client.call('CONNECT_LIST_ALL_DOMAINS', { need_results: 1 });
    for (const dom of domains) {
      if ((await client.call('DOMAIN_IS_ACTIVE', { dom })).active !== 0) await client.call('DOMAIN_DESTROY', { dom });
      // SNAPSHOTS_METADATA and CHECKPOINTS_METADATA.
      await client.call('DOMAIN_UNDEFINE_FLAGS', { dom, flags: 2 | 16 });
    }
  }
}

/** Where blockferry does not do as virsh does, and docs/snapshots.md says so. */
function departureOf({ steps }: VirshCase): string | undefined {
  const specs = steps.flatMap(({ argv }) => argv.filter((_, index) => argv[index - 1] === '--diskspec'));
  if (specs.some((spec) => spec === '' || /,(?:snapshot|driver|stype)=[^,]*[<>&'"]/.test(spec))) {
    return 'a departure: virsh writes broken XML of such a diskspec';
  }
  return undefined;
}

async function callDirectly(client: LibvirtClient, [command, name]: readonly string[]): Promise<void> {
  if (command !== 'start') return;
  const { dom } = await client.call('DOMAIN_LOOKUP_BY_NAME', { name: name ?? '' });
  await client.call('DOMAIN_CREATE', { dom });
}

/** The files of a case, and its folder in place of `/images`. */
class Scene {
  readonly one: VirshCase;
  readonly work: string;
  readonly fixture: string;
  readonly #folder: string;
  readonly #images: string;

  constructor(one: VirshCase, work: string, folder: string) {
    this.one = one;
    this.work = work;
    this.#folder = folder;
    this.#images = join(work, 'images');
    this.fixture = join(work, 'fixture.xml');
  }

  make(): void {
    const { files = {}, images = [], regularFiles = [], fixture } = this.one;
    mkdirSync(this.#images, { recursive: true });
    chmodSync(this.work, 0o755);
    for (const [name, from] of Object.entries(files)) {
      writeFileSync(join(this.work, name), this.send(readFileSync(join(this.#folder, from), 'utf8')));
    }
    if (fixture !== undefined) {
      writeFileSync(this.fixture, this.send(readFileSync(join(this.#folder, fixture), 'utf8')));
    }
    for (const path of regularFiles) {
      const file = this.send(path);
      mkdirSync(dirname(file), { recursive: true });
      writeFileSync(file, '');
    }
    for (const { path, format, size } of images) {
      const [, below] = format.split('-over:');
      const backing = below === undefined ? [] : ['-b', this.send(below), '-F', 'qcow2'];
      const file = this.send(path);
      execFileSync('qemu-img', ['create', '-q', '-f', format.split('-')[0] ?? format, ...backing, file, size]);
    }
  }

  send(text: string): string {
    return text.replaceAll(/\/images(?=\/|$)/g, this.#images);
  }

  /** Paths and times as the corpus has them. */
  receive(text: string): string {
    const now = Date.now();
    const isNow = (at: number): boolean => Math.abs(now - at) < 86_400_000;
    return text
      .replaceAll(this.#images, IMAGES)
      .replaceAll(/(?<!\d)\d{10}(?!\d)/g, (digits) => (isNow(Number(digits) * 1000) ? 'NNNNNNNNNN' : digits))
      .replaceAll(/\d{4}-\d\d-\d\d \d\d:\d\d:\d\d \+0000/g, (time) =>
        isNow(Date.parse(time.replace(' ', 'T').replace(' +0000', 'Z'))) ? 'YYYY-MM-DD HH:MM:SS +ZZZZ' : time,
      );
  }

  edit = (text: string): Promise<string> => {
    const file = join(this.work, 'edit.xml');
    writeFileSync(file, text);
    execFileSync('sh', ['-c', `${this.one.env?.['EDITOR'] ?? 'true'} "$1"`, 'sh', file]);
    return Promise.resolve(readFileSync(file, 'utf8'));
  };

  /** The images that are there now. */
  async files(lab: Lab): Promise<Readonly<Record<string, FileAfter>>> {
    const found: Record<string, FileAfter> = {};
    for (const name of readdirSync(this.#images).toSorted()) {
      found[this.receive(join(this.#images, name))] = await this.#look(lab, join(this.#images, name));
    }
    return found;
  }

  async #look(lab: Lab, path: string): Promise<FileAfter> {
    const facts = JSON.parse(
      execFileSync(lab.build.img, ['info', '-U', '--output=json', path], { encoding: 'utf8' }),
    ) as QemuImgInfo;
    return {
      format: facts.format,
      ...(facts['backing-filename'] === undefined
        ? {}
        : {
            backing: this.receive(facts['backing-filename']),
            backingFormat: facts['backing-filename-format'] ?? null,
          }),
      ...(facts.snapshots === undefined ? {} : { internalSnapshots: facts.snapshots.map(({ name }) => name) }),
    };
  }
}

interface QemuImgInfo {
  readonly format: string;
  readonly 'backing-filename'?: string;
  readonly 'backing-filename-format'?: string;
  readonly snapshots?: readonly { readonly name: string }[];
}

/** What differs from what virsh said; empty when nothing does. */
function compare(
  one: VirshCase,
  outcomes: readonly (CommandOutcome | undefined)[],
  files: Readonly<Record<string, FileAfter>> | undefined,
): string {
  const differences: string[] = [];
  for (const [index, step] of one.steps.entries()) {
    const outcome = outcomes[index];
    if (outcome === undefined) continue;
    const said = (what: string): string => `$ ${step.argv.join(' ')}\n${what}`;
    if (outcome.stdout !== step.stdout) differences.push(said(lineDiff(step.stdout, outcome.stdout)));
    const codes = (step.errorCodes ?? []).filter((code) => code !== null);
    const code =
      libvirtCodeOf(outcome.error) ?? (outcome.error instanceof Error ? libvirtCodeOf(outcome.error.cause) : undefined);
    if (codes.length > 0 && codes.at(-1) !== code) differences.push(said(`- ${codes.at(-1)}\n+ ${code}`));
    if (one.match !== 'code' && outcome.stderr !== step.stderr)
      differences.push(said(lineDiff(step.stderr, outcome.stderr)));
    if (one.match === 'code' && (outcome.stderr === '') !== (step.stderr === ''))
      differences.push(said(outcome.stderr));
  }
  const status = outcomes.at(-1)?.exitStatus;
  if (one.exitStatus !== undefined && status !== one.exitStatus) differences.push(`- ${one.exitStatus}\n+ ${status}`);
  if (one.filesAfter !== undefined) {
    const [wanted, found] = [one.filesAfter, files].map((each) => JSON.stringify(each, sorted, 1));
    if (wanted !== found) differences.push(lineDiff(wanted ?? '', found ?? ''));
  }
  return differences.join('\n');
}

/** Keys in their order, so that texts compare. */
function sorted(_: string, value: unknown): unknown {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return value;
  return Object.fromEntries(Object.entries(value).toSorted(([a], [b]) => (a < b ? -1 : 1)));
}
