/**
 * A libvirtd of the lab's own, with the QEMU driver and the test driver. Nothing that it does meets a libvirtd of this
 * machine: it lives in a mount namespace where libvirt's folders are folders of the lab, and in a pid namespace that takes
 * its VMs along when it ends. The namespace also hides /dev/kvm: with one that hangs, the probes of libvirt take a minute;
 * and as nobody can write to it, libvirt does not probe each time whether KVM has come.
 *
 * When libvirtd ends, it is started again at once, as systemd does; its VMs run on meanwhile.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { closeSync, existsSync, openSync, readdirSync, readFileSync, readlinkSync } from 'node:fs';
import { chmod, cp, mkdir, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { LibvirtClient } from '../src/libvirt/index.ts';
import { cached, cacheFolder } from './cache.ts';
import type { Lab } from './lab.ts';
import { type LibvirtBuild, libvirtOf } from './libvirt-build.ts';
import { LabError, requirePrograms } from './requires.ts';

/** libvirt's folders, each in place of the system's. */
const FOLDERS = ['/etc/libvirt', '/run/libvirt', '/var/lib/libvirt', '/var/log/libvirt', '/var/cache/libvirt'];

/** Starting QEMU to ask it what it can do takes seconds on two busy cores. */
const START_MS = 120_000;
/** The folder of the lab's cache with what a libvirt knows of the builds of QEMU. */
function capabilitiesOf({ label }: LibvirtBuild): string {
  return `libvirt-qemu-capabilities${label === 'installed' ? '' : `-${label}`}`;
}

export interface LibvirtdOptions {
  /** The user that QEMU runs as, a number or a name; images are given to it as libvirt does. Default: root. */
  readonly user?: string;
  /** More lines of `libvirtd.conf`. */
  readonly config?: readonly string[];
  /** Listens on TLS as well (`libvirtd --listen`). Default false. */
  readonly listen?: boolean;
}

export class LabLibvirtd {
  /** Its socket, on this machine. */
  readonly socket: string;
  readonly folder: string;
  readonly build: LibvirtBuild;
  readonly #process: ChildProcess;

  private constructor(folder: string, build: LibvirtBuild, child: ChildProcess) {
    this.folder = folder;
    this.build = build;
    this.socket = join(folder, 'run-libvirt', 'libvirt-sock');
    this.#process = child;
  }

  /** Starts one, of the build that goes with the lab's QEMU; resolves when it answers. It ends with the lab. */
  static async start(lab: Lab, options: LibvirtdOptions = {}): Promise<LabLibvirtd> {
    requirePrograms('libvirtd', 'unshare', 'setpriv', 'mount');
    if (process.getuid?.() !== 0) throw new LabError('the lab starts libvirtd in namespaces of its own: run as root');
    const folder = await lab.storage('libvirtd');
    const build = await libvirtOf(lab.build);
    // Whoever QEMU runs as must get to the images.
    await chmod(lab.folder, 0o755);
    const inLab = (path: string): string => join(folder, path.slice(1).replaceAll('/', '-'));
    for (const path of FOLDERS) await mkdir(inLab(path), { recursive: true });
    const user = options.user ?? 'root';
    await writeFile(
      join(inLab('/etc/libvirt'), 'qemu.conf'),
      `user = "${user}"\ngroup = "${user}"\nsecurity_driver = "none"\nstdio_handler = "file"\nnamespaces = []\ncgroup_controllers = []\n`,
    );
    const config = ['auth_unix_rw = "none"', 'unix_sock_rw_perms = "0777"', ...(options.config ?? [])];
    await writeFile(join(inLab('/etc/libvirt'), 'libvirtd.conf'), `${config.join('\n')}\n`);
    await writeFile(join(folder, 'nothing'), '');
    await useCapabilities(build, inLab('/var/cache/libvirt'));
    const script = [
      'set -e',
      ...FOLDERS.flatMap((path) => [`mkdir -p ${path}`, `mount --bind '${inLab(path)}' ${path}`]),
      `if [ -e /dev/kvm ]; then mount --bind '${join(folder, 'nothing')}' /dev/kvm; mount -o remount,bind,ro /dev/kvm; fi`,
      ...mountLines(build),
      // The pid file has a name of its own: libvirt's, in /run, is one for all.
      `while true; do libvirtd --pid-file '${join(folder, 'pid')}' ${options.listen ? '--listen' : ''} || true; while [ -e '${join(folder, 'stay-down')}' ]; do sleep 0.05; done; done`,
    ].join('\n');
    const log = openSync(join(folder, 'log'), 'w');
    // The kernel ends unshare with this process, however it ends; unshare its child, and with it the whole namespace.
    const child = spawn(
      'setpriv',
      [
        '--pdeathsig',
        'KILL',
        '--',
        'unshare',
        '--mount',
        '--pid',
        '--fork',
        '--kill-child',
        '--mount-proc',
        'sh',
        '-c',
        script,
      ],
      { stdio: ['ignore', log, log] },
    );
    closeSync(log);
    const exited = new Promise<void>((resolve) => void child.once('close', () => resolve()));
    const daemon = new LabLibvirtd(folder, build, child);
    lab.defer(async () => {
      child.kill('SIGKILL');
      await exited;
    });
    await daemon.untilReady();
    return daemon;
  }

  /** The URI of a driver of this daemon: `qemu`, or `test`. */
  uri(driver: 'qemu' | 'test' = 'qemu'): string {
    return `${driver}+unix:///${driver === 'qemu' ? 'system' : 'default'}?socket=${this.socket}`;
  }

  /** Resolves when it opens a connection. */
  async untilReady(): Promise<void> {
    const deadline = performance.now() + START_MS;
    while (true) {
      if (this.#process.exitCode !== null)
        throw new LabError(`libvirtd did not start: ${(await this.log()).slice(-2000)}`);
      try {
        await using _ = await LibvirtClient.connect(this.uri('test'));
        return;
      } catch (error) {
        if (performance.now() > deadline) {
          throw new LabError(`libvirtd is not ready: ${(await this.log()).slice(-2000)}`, { cause: error });
        }
        await sleep(20);
      }
    }
  }

  /** What it printed. */
  async log(): Promise<string> {
    return (await readFile(join(this.folder, 'log'), 'utf8')).trim();
  }

  /** The pids, as this machine counts them, of the processes of the namespace whose name this is. */
  pids(name: string): number[] {
    const [init] = childrenOf(this.#process.pid ?? 0);
    if (init === undefined) return [];
    const space = readlinkSync(`/proc/${init}/ns/pid`);
    return readdirSync('/proc')
      .filter((entry) => /^\d+$/.test(entry))
      .map(Number)
      .filter((pid) => namespaceOf(pid) === space && nameOf(pid) === name);
  }

  /**
   * Keeps what libvirt has found out about the builds of QEMU here, for the next libvirtd of a lab: asking them takes half a
   * minute on a busy machine. libvirt itself looks whether it still holds.
   */
  async keepCapabilities(): Promise<void> {
    const found = join(this.folder, 'var-cache-libvirt', 'qemu', 'capabilities');
    await cached(
      capabilitiesOf(this.build),
      async (folder) => await cp(found, folder, { recursive: true, preserveTimestamps: true }),
    );
  }

  /**
   * kill -9 of libvirtd itself; resolves when it is gone. A new one starts at once, or, if it is to stay down, when `rise`
   * is called.
   */
  async kill({ stayDown = false }: { readonly stayDown?: boolean } = {}): Promise<void> {
    if (stayDown) await writeFile(join(this.folder, 'stay-down'), '');
    const pids = this.pids('libvirtd');
    for (const pid of pids) process.kill(pid, 'SIGKILL');
    while (this.pids('libvirtd').some((pid) => pids.includes(pid))) await sleep(5);
  }

  /** What is done is done, and libvirtd, killed before it could write that down, believes of a domain what it had written before. */
  async killForgetting(domain: string, act: () => Promise<unknown>): Promise<void> {
    const status = join(this.folder, 'run-libvirt', 'qemu', `${domain}.xml`);
    const before = await readFile(status);
    await act();
    await this.kill({ stayDown: true });
    await writeFile(status, before);
    await this.rise();
  }

  /** Ends a `stayDown`; resolves when it answers. */
  async rise(): Promise<void> {
    await rm(join(this.folder, 'stay-down'), { force: true });
    await this.untilReady();
  }
}

/** The lines of the namespace's script that put a build in place of the one that is installed. */
function mountLines({ mounts }: LibvirtBuild): string[] {
  if (mounts.length === 0) return [];
  return [
    // The one mount point that nobody has.
    'mount -t tmpfs none /opt',
    'mkdir /opt/qemu',
    ...mounts.map(({ from, at }) => `mount --bind '${from}' ${at}`),
  ];
}

async function useCapabilities(build: LibvirtBuild, cache: string): Promise<void> {
  const kept = join(cacheFolder(), capabilitiesOf(build));
  if (!existsSync(kept)) return;
  await cp(kept, join(cache, 'qemu', 'capabilities'), { recursive: true, preserveTimestamps: true });
}

function childrenOf(pid: number): number[] {
  const text = readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').trim();
  return text === '' ? [] : text.split(' ').map(Number);
}

function namespaceOf(pid: number): string | undefined {
  try {
    return readlinkSync(`/proc/${pid}/ns/pid`);
  } catch {
    // It has ended meanwhile.
    return undefined;
  }
}

function nameOf(pid: number): string | undefined {
  try {
    return readFileSync(`/proc/${pid}/comm`, 'utf8').trim();
  } catch {
    return undefined;
  }
}
