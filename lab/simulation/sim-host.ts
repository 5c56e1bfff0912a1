import { basename, dirname } from 'node:path';
import { ferryError } from '../../src/base/index.ts';
import { type ImageInfo, resolveBackingName } from '../../src/image/index.ts';
import type { Host } from '../../src/migration/index.ts';
import { BLOCKS } from './guest.ts';
import { type Backing, type Inode, NOTHING, setBacking, sync, type SimFiles, write } from './sim-files.ts';
import { simClock } from './sim-clock.ts';
import { Killed, type Manager, type World } from './world.ts';

/** Bytes that a block stands for. */
const BLOCK_BYTES = 2 ** 20;
export const DISK_BYTES: number = BLOCKS * BLOCK_BYTES;

/** Something on the host in steps; between two of them everything else can happen, and at each a fault. */
type Steps<T> = Pick<Generator<undefined, T>, 'next' | 'throw'>;

/** The host, as one manager acts on it. */
export function simHost(world: World, manager: Manager): Host {
  const { files } = world;

  const does = <T>(name: string, about: string, steps: Steps<T>, signal?: AbortSignal): Promise<T> =>
    new Promise((resolve, reject) => {
      if (!manager.alive) return;
      const next = (): IteratorResult<undefined, T> => {
        if (signal?.aborted) return steps.throw(signal.reason);
        return world.effect(
          { manager, kind: 'host', name, detail: () => about },
          () => steps.next(),
          ({ when }, act) => {
            if (when === 'after') act();
            return steps.throw(ioError(name, about));
          },
        );
      };
      const step = (): boolean => {
        try {
          const { done, value } = next();
          if (done) resolve(value);
          return done ?? false;
        } catch (error) {
          if (!(error instanceof Killed)) reject(error);
          return true;
        }
      };
      world.tasks.push({ manager, what: name, about, step });
    });

  const need = (path: string): Inode => files.open(path) ?? fail('ENOENT', path);

  const info = (path: string, format: string): ImageInfo => {
    const inode = need(path);
    // As qemu-img does: who has it open for writing keeps others from reading it.
    if (world.qemu.writes(inode)) throw ferryError('IMAGE_IN_USE', { path });
    if (inode.format !== format) throw ferryError('IMAGE_UNREADABLE', { path, reason: `it is no ${format} image` });
    return imageInfo(path, inode);
  };

  return {
    createOverlay: ({ path, backing }) =>
      does(
        'createOverlay',
        path,
        (function* () {
          if (files.lookup(path)) throw ferryError('TARGET_EXISTS', { path });
          world.onFile(path);
          const inode = files.make(path, 'qcow2', empty());
          try {
            yield undefined;
            setBacking(inode, backing as Backing);
            sync(inode);
            files.syncFolder(dirname(path));
          } catch (error) {
            files.remove(path);
            throw error;
          }
        })(),
      ),

    copyImage: ({ source, target }, { signal, onProgress }) =>
      does(
        'copyImage',
        target,
        (function* () {
          const from = need(source.path);
          if (files.lookup(target)) throw ferryError('TARGET_EXISTS', { path: target });
          world.onFile(target);
          const to = files.make(target, from.format, empty());
          try {
            yield undefined;
            for (const [block, value] of from.now.blocks.entries()) {
              write(to, block, world.spoilt ? value - 1 : value);
              world.spoilt = false;
              onProgress?.({ source: source.path, target, copied: block + 1, total: BLOCKS });
              if (block % 2 === 1) yield undefined;
            }
            setBacking(to, from.now.backing);
            sync(to);
            files.syncFolder(dirname(target));
          } catch (error) {
            files.remove(target);
            throw error;
          }
        })(),
        signal,
      ),

    verifyCopy: ({ source, target, signal, onProgress }) =>
      does(
        'verifyCopy',
        target,
        (function* () {
          const [from, to] = [need(source.path), need(target)];
          yield undefined;
          for (const [block, value] of from.now.blocks.entries()) {
            if (to.now.blocks[block] !== value)
              throw ferryError('VERIFY_MISMATCH', { source: source.path, target, offset: block * BLOCK_BYTES });
          }
          onProgress?.(BLOCKS, BLOCKS);
          return { compared: BLOCKS, size: BLOCKS, digest: '', readBack: 'direct' as const };
        })(),
        signal,
      ),

    probeImage: (path, { format }) =>
      does(
        'probeImage',
        path,
        once(() => info(path, format)),
      ),

    probeChain: (path, { format, within }) =>
      does(
        'probeChain',
        path,
        once(() => {
          const chain: ImageInfo[] = [];
          for (let at: string | undefined = path, of = format; at !== undefined; ) {
            if (chain.length > 0) inside(at, within);
            const image: ImageInfo = info(at, of);
            chain.push(image);
            at = image.backing?.path;
            of = image.backing?.format ?? 'raw';
          }
          return chain;
        }),
      ),

    rewriteBacking: (path, backing) =>
      does(
        'rewriteBacking',
        path,
        (function* () {
          const inode = need(path);
          if (world.qemu.opens(inode)) throw ferryError('IMAGE_IN_USE', { path });
          setBacking(inode, backing as Backing);
          yield undefined;
          sync(inode);
        })(),
      ),

    foldOffline: (overlay, { within }) =>
      does(
        'foldOffline',
        overlay,
        (function* () {
          const top = need(overlay);
          const [, below] = files.chain(overlay);
          if (!below || !top.now.backing) throw ferryError('NOT_AN_OVERLAY', { path: overlay });
          inside(resolveBackingName(overlay, top.now.backing.name), within);
          for (const inode of [top, below])
            if (world.qemu.opens(inode)) throw ferryError('IMAGE_IN_USE', { path: overlay });
          for (const [block, value] of top.now.blocks.entries()) {
            if (value === NOTHING) continue;
            write(below, block, value);
            yield undefined;
          }
          sync(below);
        })(),
      ),

    syncFile: (path) =>
      does(
        'syncFile',
        path,
        once(() => sync(need(path))),
      ),
    syncFolder: (path) =>
      does(
        'syncFolder',
        path,
        once(() => files.syncFolder(path)),
      ),

    removeFile: (path) =>
      does(
        'removeFile',
        path,
        (function* () {
          files.remove(path);
          yield undefined;
          files.syncFolder(dirname(path));
        })(),
      ),

    renameFile: (path, to) =>
      does(
        'renameFile',
        `${path} to ${to}`,
        (function* () {
          if (!files.lookup(path)) fail('ENOENT', path);
          files.rename(path, to);
          yield undefined;
          files.syncFolder(dirname(path));
        })(),
      ),

    makeLink: (leadsTo, path) =>
      does(
        'makeLink',
        path,
        once(() => {
          if (files.lookup(path)) fail('EEXIST', path);
          world.onFile(path);
          files.make(path, 'raw', [], leadsTo);
        }),
      ),

    readLink: (path) =>
      does(
        'readLink',
        path,
        once(() => files.lookup(path)?.leadsTo),
      ),

    fileMark: (path) =>
      does(
        'fileMark',
        path,
        once(() => {
          const device = files.devices.get(path);
          if (device !== undefined) return { dev: device, ino: '1', born: '1' };
          const inode = files.lookup(path);
          return inode && { dev: inode.device, ino: String(inode.ino), born: String(inode.ino) };
        }),
      ),

    stampOf: (path) =>
      does(
        'stampOf',
        path,
        once(() => {
          const { device, ino, mtime } = need(path);
          return { path, dev: device, ino: String(ino), size: String(DISK_BYTES), mtime: String(mtime) };
        }),
      ),

    openersOf: (path) =>
      does(
        'openersOf',
        path,
        once(() => {
          const opener = { pid: 7, program: 'qemu', writes: true };
          return { openers: world.qemu.opens(need(path)) ? [opener] : [], complete: true };
        }),
      ),

    async storageAnswers(path, withinMs) {
      if (!world.hangs(path)) return true;
      const left = world.hangsUntil - world.time;
      await simClock(world, manager).sleep(Math.min(left, withinMs));
      return left <= withinMs;
    },

    // No mirror is served here: one whose target hangs is as if it were cut off as soon as it is cancelled.
    serverFolder: (id, n) => `/run/blockferry-${id}-${n}`,
    serveImages: () => Promise.reject(new Error('no model of a mirror server')),
    imageServerAnswers: () => Promise.resolve(true),
    cutImageServer: () => Promise.resolve(),
    endImageServer: () => Promise.resolve(),

    storageSpace: (folder) =>
      does(
        'storageSpace',
        folder,
        once(() => {
          const free = world.time < world.fullUntil ? 1 : 2 ** 40;
          return { free, total: 2 ** 41, device: files.devices.get(folder) ?? '0' };
        }),
      ),

    claim: (_stateDir, id) =>
      does(
        'claim',
        id,
        once(() => {
          if (world.owners.has(id)) return undefined;
          world.owners.set(id, manager);
          const release = (): Promise<void> => {
            if (world.owners.get(id) === manager) world.owners.delete(id);
            return Promise.resolve();
          };
          return { [Symbol.asyncDispose]: release };
        }),
      ),
  };
}

/** A header that leads elsewhere is not followed. */
function inside(path: string, within: readonly string[]): void {
  if (!within.includes(path)) throw ferryError('BACKING_ELSEWHERE', { path, name: path });
}

function once<T>(act: () => T): Steps<T> {
  return {
    next: () => ({ done: true, value: act() }),
    throw: (error: Error) => {
      throw error;
    },
  };
}

function empty(): number[] {
  return Array.from({ length: BLOCKS }, () => NOTHING);
}

function fail(code: string, path: string): never {
  throw Object.assign(new Error(`${code}: ${path}`), { code });
}

function ioError(what: string, path: string): Error {
  return Object.assign(new Error(`EIO: simulated, ${what} '${path}'`), { code: 'EIO' });
}

/** What a probe of an image tells. */
export function imageInfo(path: string, inode: Inode): ImageInfo {
  const { backing } = inode.now;
  return {
    path,
    realPath: path,
    format: inode.format,
    formatStated: true,
    blockDevice: false,
    virtualSize: DISK_BYTES,
    fileSize: DISK_BYTES,
    allocated: DISK_BYTES,
    ...(backing && {
      backing: { written: backing.name, path: resolveBackingName(path, backing.name), format: backing.format },
    }),
    encrypted: false,
    bitmaps: [],
    snapshotCount: 0,
    corrupt: false,
    dirty: false,
    nlink: 1,
    owner: { uid: 0, gid: 0, mode: 0o600 },
    dev: inode.device,
    ino: String(inode.ino),
  };
}

/** The chain of an image, as a survey has it. */
export function probe(files: SimFiles, path: string): readonly ImageInfo[] {
  const chain: ImageInfo[] = [];
  for (let at: string | undefined = path; at !== undefined; at = chain.at(-1)?.backing?.path) {
    const inode = files.open(at);
    if (!inode) throw new Error(`no ${basename(at)}`);
    chain.push(imageInfo(at, inode));
  }
  return chain;
}
