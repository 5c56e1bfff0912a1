import { createHash } from 'node:crypto';
import { readdir, readFile, realpath, rename, rm, stat, writeFile } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { run } from '../src/base/index.ts';
import { cached } from './cache.ts';
import { cpio, type CpioEntry } from './cpio.ts';
import { debianCodename, PrivateApt } from './debian.ts';
import { LabError, requirePrograms } from './requires.ts';

/** The drivers of the lab's guest. What they depend on comes before them. */
const DRIVERS = ['virtio_pci', 'virtio_blk', 'virtio_console'];

/** What a guest boots. */
export interface GuestImage {
  readonly kernel: string;
  readonly initramfs: string;
}

/** The guest's kernel and initramfs, from the cache, or made from Debian's packages on first use. */
export async function guestImage(): Promise<GuestImage> {
  const kernel = await guestKernel();
  return { kernel: join(kernel, 'vmlinuz'), initramfs: join(await guestInitramfs(kernel), 'initramfs.cpio') };
}

/** A folder with `vmlinuz`, the drivers (`*.ko`) and `order`, which names them in the order of loading. */
async function guestKernel(): Promise<string> {
  if (process.arch !== 'x64') throw new LabError(`the lab's guests are x86-64; this machine is ${process.arch}`);
  const codename = await debianCodename();
  return await cached(`guest-kernel-${codename}`, async (folder) => {
    const [busybox = ''] = requirePrograms('busybox');
    const apt = await PrivateApt.open(join(folder, 'apt'), [codename]);
    const image = (await apt.depends('linux-image-cloud-amd64')).find((name) => name.startsWith('linux-image-'));
    if (image === undefined) throw new LabError('linux-image-cloud-amd64 names no kernel');
    const unpacked = join(folder, 'unpacked');
    await apt.unpack([image], unpacked);
    const boot = await readdir(join(unpacked, 'boot'));
    const vmlinuz = boot.find((name) => name.startsWith('vmlinuz-'));
    if (vmlinuz === undefined) throw new LabError(`${image} holds no /boot/vmlinuz`);
    await rename(join(unpacked, 'boot', vmlinuz), join(folder, 'vmlinuz'));
    await writeFile(
      join(folder, 'order'),
      (await takeDrivers(unpacked, folder, busybox)).map((name) => `${name}\n`).join(''),
    );
    await rm(unpacked, { recursive: true });
    await apt.remove();
  });
}

/** Moves the drivers and those that they need into `folder`; returns their file names in the order of loading. */
async function takeDrivers(unpacked: string, folder: string, busybox: string): Promise<string[]> {
  // Debian 13's packages have the modules in /usr/lib, and compressed.
  const files = new Map<string, string>();
  for (const entry of await readdir(unpacked, { recursive: true })) {
    const name = /([^/]+)\.ko(\.xz)?$/.exec(entry)?.[1];
    if (name !== undefined) files.set(name.replaceAll('-', '_'), join(unpacked, entry));
  }
  const order: string[] = [];
  const take = async (driver: string): Promise<void> => {
    const file = files.get(driver);
    if (file === undefined || order.includes(`${driver}.ko`)) return; // built into the kernel, or there already
    if (file.endsWith('.xz')) await run(busybox, ['unxz', file]);
    const contents = await readFile(file.replace(/\.xz$/, ''));
    for (const needed of dependencies(contents)) await take(needed);
    await writeFile(join(folder, `${driver}.ko`), contents);
    order.push(`${driver}.ko`);
  };
  for (const driver of DRIVERS) await take(driver);
  return order;
}

/** The drivers that a driver names in its `depends` (the .modinfo section holds NUL-terminated `key=value`). */
function dependencies(module: Buffer): string[] {
  const at = module.indexOf('\0depends=');
  if (at < 0) return [];
  const value = module.toString('latin1', at + 9, module.indexOf(0, at + 9));
  return value.split(',').filter((name) => name !== '');
}

/** A folder with `initramfs.cpio`; it is made anew when one of the programs in it changes. */
async function guestInitramfs(kernel: string): Promise<string> {
  const [busybox = '', fio = '', perl = ''] = requirePrograms('busybox', 'fio', 'perl');
  const ldd = (await run('ldd', [busybox], { accept: [0, 1] })).stdout;
  if (ldd.includes('=>')) throw new LabError(`${busybox} is not static; install: sudo apt-get install busybox-static`);
  const programs = { 'bin/busybox': busybox, 'usr/bin/fio': fio, 'usr/bin/perl': perl };
  const own = join(import.meta.dirname, 'guest');
  const hash = createHash('sha256');
  for (const file of [...Object.values(programs), join(kernel, 'vmlinuz')]) {
    const { size, mtimeMs } = await stat(file);
    hash.update(`${file} ${size} ${mtimeMs}\n`);
  }
  const scripts = (await readdir(own)).sort();
  for (const name of [...scripts.map((script) => join(own, script)), import.meta.filename])
    hash.update(await readFile(name));
  return await cached(`guest-initramfs-${hash.digest('hex').slice(0, 16)}`, async (folder) => {
    const files = new Map<string, string>(Object.entries(programs));
    for (const program of [fio, perl]) {
      for (const library of await libraries(program)) files.set(library.slice(1), library);
    }
    for (const name of scripts) files.set(name === 'init' ? 'init' : `guest/${name}`, join(own, name));
    for (const name of await readdir(kernel)) if (name !== 'vmlinuz') files.set(`modules/${name}`, join(kernel, name));
    await writeFile(join(folder, 'initramfs.cpio'), cpio(await entriesOf(files)));
    await removeOutdated(dirname(folder));
  });
}

const HOUR_MS = 3_600_000;

/** Removes earlier initramfs (90 MB each), but for those so new that another process may be about to boot one. */
async function removeOutdated(cache: string): Promise<void> {
  for (const name of (await readdir(cache)).filter((entry) => entry.startsWith('guest-initramfs-'))) {
    const { mtimeMs } = await stat(join(cache, name));
    if (Date.now() - mtimeMs > HOUR_MS) await rm(join(cache, name), { recursive: true, force: true });
  }
}

/** The paths at which the dynamic linker finds the libraries of a program, and the linker itself. */
async function libraries(program: string): Promise<string[]> {
  const { stdout } = await run('ldd', [program]);
  return [...stdout.matchAll(/^\s*(?:\S+ => )?(\/\S+) \(0x/gm)].map((match) => match[1] ?? '');
}

async function entriesOf(files: ReadonlyMap<string, string>): Promise<CpioEntry[]> {
  const folders = new Set<string>(['proc', 'sys', 'dev', 'run', 'tmp']);
  for (const path of files.keys()) {
    for (let parent = dirname(path); parent !== '.'; parent = dirname(parent)) folders.add(parent);
  }
  const entries: CpioEntry[] = [...folders].sort().map((path) => ({ path, type: 'folder' }));
  // The kernel opens it as the first process's standard output before that can mount anything.
  entries.push({ path: 'dev/console', type: 'device', major: 5, minor: 1 });
  entries.push({ path: 'bin/sh', type: 'link', target: 'busybox' });
  for (const [path, source] of files) {
    entries.push({ path, type: 'file', mode: 0o755, contents: await readFile(await realpath(source)) });
  }
  return entries.filter((entry) => basename(entry.path) !== '');
}
