import { dirname } from 'node:path';
import { resolveBackingName } from '../../src/image/index.ts';
import type { Random } from '../torture/random.ts';

/** What a block reads as that no image of a chain has. */
export const NOTHING = -1;

export interface Backing {
  readonly name: string;
  readonly format: 'raw' | 'qcow2';
}

/** What a file holds: the number of the guest's write that each block has last seen, or `NOTHING`. */
interface Contents {
  blocks: number[];
  backing: Backing | undefined;
  /** The path that the backing name means, once it was asked for. It has no other in the life of a file. */
  below?: string;
}

/** A file, whatever it is called and whether it has a name at all: who has it open goes on with it. */
export interface Inode {
  readonly ino: number;
  readonly device: string;
  readonly format: 'raw' | 'qcow2';
  /** The path that a symbolic link leads to. */
  readonly leadsTo?: string;
  now: Contents;
  /** What a loss of power leaves at least. */
  synced: Contents;
  /** Counts the writes. */
  mtime: number;
}

/** What names meant before one change, which is on the storage as a whole or not at all. */
type NameChange = ReadonlyMap<string, Inode | undefined>;

/** The files of a host: names, contents, and what of both a loss of power would take. */
export class SimFiles {
  /** By folder, what is mounted there. */
  readonly devices: ReadonlyMap<string, string>;
  readonly #names: Map<string, Inode> = new Map();
  /** By folder, the changes of names since it was last synced, oldest first. */
  readonly #unsynced: Map<string, NameChange[]> = new Map();
  #inodes = 100;

  constructor(devices: ReadonlyMap<string, string>) {
    this.devices = devices;
  }

  names(): readonly string[] {
    return [...this.#names.keys()];
  }

  /** What has this name; symbolic links are not followed. */
  lookup(path: string): Inode | undefined {
    return this.#names.get(path);
  }

  /** What an open of this name finds. */
  open(path: string): Inode | undefined {
    const found = this.#names.get(path);
    return found?.leadsTo === undefined ? found : this.#names.get(found.leadsTo);
  }

  make(path: string, format: 'raw' | 'qcow2', blocks: readonly number[], leadsTo?: string): Inode {
    this.#inodes += 1;
    const contents = (): Contents => ({ blocks: [...blocks], backing: undefined });
    const inode: Inode = {
      ino: this.#inodes,
      device: this.devices.get(dirname(path)) ?? '0',
      format,
      ...(leadsTo !== undefined && { leadsTo }),
      now: contents(),
      synced: contents(),
      mtime: 0,
    };
    this.#rename(path, new Map([[path, inode]]));
    return inode;
  }

  remove(path: string): void {
    if (this.#names.has(path)) this.#rename(path, new Map([[path, undefined]]));
  }

  rename(path: string, to: string): void {
    this.#rename(
      path,
      new Map([
        [to, this.#names.get(path)],
        [path, undefined],
      ]),
    );
  }

  syncFolder(folder: string): void {
    this.#unsynced.delete(folder);
  }

  /** All names of one folder that change together. */
  #rename(path: string, names: NameChange): void {
    const folder = dirname(path);
    const changes = this.#unsynced.get(folder) ?? [];
    changes.push(new Map([...names.keys()].map((name) => [name, this.#names.get(name)])));
    this.#unsynced.set(folder, changes);
    this.#set(names);
  }

  #set(names: NameChange): void {
    for (const [name, inode] of names) {
      if (inode) this.#names.set(name, inode);
      else this.#names.delete(name);
    }
  }

  /** One of the names of a file that has one. */
  nameOf(inode: Inode): string {
    return this.names().find((path) => this.lookup(path) === inode) ?? '';
  }

  /** The chain as headers name it, the image first; what is missing ends it with undefined. */
  chain(path: string, names: ReadonlyMap<string, string> = new Map()): readonly (Inode | undefined)[] {
    const chain: (Inode | undefined)[] = [];
    for (let at: string | undefined = path; at !== undefined; ) {
      const inode: Inode | undefined = this.open(at) ?? this.open(names.get(at) ?? at);
      chain.push(inode);
      const now: Contents | undefined = inode?.now;
      if (now?.backing) now.below ??= resolveBackingName(at, now.backing.name);
      at = chain.length < 10 ? now?.below : undefined;
    }
    return chain;
  }

  /**
   * The host loses its power: names that were changed since the last sync of their folder are lost from some moment on,
   * and of data that was not synced each block may be lost by itself.
   */
  losePower(random: Random): void {
    for (const changes of this.#unsynced.values()) {
      for (const before of changes.slice(random.integer(changes.length + 1)).toReversed()) this.#set(before);
    }
    this.#unsynced.clear();
    for (const inode of new Set(this.#names.values())) {
      const { now, synced } = inode;
      const blocks = now.blocks.map((block, n) => (random.chance(0.5) ? block : (synced.blocks[n] ?? NOTHING)));
      const backing = random.chance(0.5) ? now.backing : synced.backing;
      inode.now = { blocks, backing };
      inode.synced = { blocks: [...blocks], backing };
    }
  }
}

export function write(inode: Inode, block: number, value: number): void {
  inode.now.blocks[block] = value;
  inode.mtime += 1;
}

/** Writes the header anew. */
export function setBacking(inode: Inode, backing: Backing | undefined): void {
  inode.now = { blocks: inode.now.blocks, backing };
}

export function sync(inode: Inode): void {
  inode.synced = { blocks: [...inode.now.blocks], backing: inode.now.backing };
}

/** What a block of a chain reads as. */
export function readChain(chain: readonly (Inode | undefined)[], block: number): number {
  for (const inode of chain) {
    const value = inode?.now.blocks[block] ?? NOTHING;
    if (value !== NOTHING) return value;
  }
  return NOTHING;
}
