import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { messageOf, run } from '../src/base/index.ts';
import { cached } from './cache.ts';
import { debianCodename, PrivateApt } from './debian.ts';
import { requirePrograms } from './requires.ts';

/** One build of QEMU: paths of its programs, and what they need to run. */
export interface QemuBuild {
  /** `installed` or `backports`. */
  readonly label: string;
  /** As the emulator says: `7.2.22`. For people to read; features are asked of the QMP schema. */
  readonly version: string;
  readonly system: string;
  /** Arguments that the emulator needs before all others (where its firmware is). */
  readonly systemArgs: readonly string[];
  readonly img: string;
  readonly io: string;
  readonly nbd: string;
  readonly storageDaemon: string;
  /** What to add to the environment of any of the programs. */
  readonly env: Record<string, string>;
}

export interface QemuBuilds {
  readonly builds: QemuBuild[];
  /** Builds of the test matrix that cannot be had here, each with the reason. */
  readonly missing: { readonly label: string; readonly reason: string }[];
}

async function versionOf(build: Omit<QemuBuild, 'version'>): Promise<QemuBuild> {
  const { stdout } = await run(build.system, ['--version'], { env: { ...process.env, ...build.env } });
  return { ...build, version: /version (\d+(?:\.\d+)+)/.exec(stdout)?.[1] ?? 'unknown' };
}

/**
 * The machine's QEMU. Other binaries are chosen by the environment: `QEMU`, `QEMU_IMG`, `QEMU_IO`, `QEMU_NBD`,
 * `QEMU_STORAGE_DAEMON`.
 * @throws LabError that says what to install
 */
export async function installedQemu(): Promise<QemuBuild> {
  const { env } = process;
  const [system = '', img = '', io = '', nbd = '', storageDaemon = ''] = requirePrograms(
    env['QEMU'] ?? 'qemu-system-x86_64',
    env['QEMU_IMG'] ?? 'qemu-img',
    env['QEMU_IO'] ?? 'qemu-io',
    env['QEMU_NBD'] ?? 'qemu-nbd',
    env['QEMU_STORAGE_DAEMON'] ?? 'qemu-storage-daemon',
  );
  return await versionOf({ label: 'installed', system, systemArgs: [], img, io, nbd, storageDaemon, env: {} });
}

/**
 * QEMU 8.2 and later can lose the interrupt of a disk on an I/O thread in `stop` (docs/how-it-works.md, "The hold"). With event
 * indices such a queue is silent for good; without them the next request makes up for it, and guest/writer.pl has one.
 */
const NEXT_REQUEST_MAKES_UP = ['-global', 'driver=virtio-blk-device,property=event_idx,value=off'];

const BACKPORTED = ['qemu-system-x86', 'qemu-utils', 'qemu-block-extra'];

/** QEMU of Debian 12's backports (10.0), unpacked in the cache with the libraries that are not installed here. */
async function backportsQemu(): Promise<QemuBuild> {
  const folder = await cached('qemu-bookworm-backports', async (made) => {
    const apt = await PrivateApt.open(join(made, 'apt'), ['bookworm', 'bookworm-backports']);
    await apt.unpack(BACKPORTED, made, 'bookworm-backports');
    await apt.remove();
    for (const unused of ['bin/qemu-system-i386', 'share/doc', 'share/man']) {
      await rm(join(made, 'usr', unused), { recursive: true, force: true });
    }
  });
  const bin = join(folder, 'usr', 'bin');
  const share = join(folder, 'usr', 'share');
  const libraries = join(folder, 'usr', 'lib', 'x86_64-linux-gnu');
  return await versionOf({
    label: 'backports',
    system: join(bin, 'qemu-system-x86_64'),
    systemArgs: ['-L', join(share, 'qemu'), '-L', join(share, 'seabios'), ...NEXT_REQUEST_MAKES_UP],
    img: join(bin, 'qemu-img'),
    io: join(bin, 'qemu-io'),
    nbd: join(bin, 'qemu-nbd'),
    storageDaemon: join(bin, 'qemu-storage-daemon'),
    env: { LD_LIBRARY_PATH: libraries, QEMU_MODULE_DIR: join(libraries, 'qemu') },
  });
}

async function findBuilds(): Promise<QemuBuilds> {
  const installed = await installedQemu();
  const codename = await debianCodename();
  if (codename !== 'bookworm') {
    const reason = `only Debian 12 needs it: the QEMU installed on this ${codename} is ${installed.version} itself`;
    return { builds: [installed], missing: [{ label: 'backports', reason }] };
  }
  try {
    return { builds: [installed, await backportsQemu()], missing: [] };
  } catch (error) {
    return { builds: [installed], missing: [{ label: 'backports', reason: messageOf(error) }] };
  }
}

let found: Promise<QemuBuilds> | undefined;

/**
 * The builds of QEMU that the test matrix runs on: the machine's own and, on Debian 12, backports' 10.0, fetched on first
 * use (15 MB) and not installed.
 * @throws LabError where the machine's own is missing
 */
export async function qemuBuilds(): Promise<QemuBuilds> {
  found ??= findBuilds();
  return await found;
}
