import { readdir, readFile, readlink, stat } from 'node:fs/promises';
import { isGone } from '../base/index.ts';

/** A process of this host that has a file open. */
export interface Opener {
  readonly pid: number;
  /** The program's name (comm). */
  readonly program: string;
  /** Whether one of its descriptors can write. */
  readonly writes: boolean;
}

export interface Openers {
  readonly openers: readonly Opener[];
  /** False when the descriptors of some process could not be read: only root sees those of other users. */
  readonly complete: boolean;
}

/**
 * Which processes have a file open, by whatever name, as /proc tells. Says more than QEMU's locks, which let any reader
 * open a raw image that a VM writes to, and which other programs do not take. Processes on other hosts, and in other
 * process namespaces when this is not the host's, are not seen.
 */
export async function openersOf(path: string): Promise<Openers> {
  const { dev, ino } = await stat(path, { bigint: true });
  const openers: Opener[] = [];
  let complete = true;
  for (const name of await readdir('/proc')) {
    if (!/^\d+$/.test(name)) continue;
    try {
      const access = await accessOf(name, dev, ino);
      if (access === undefined) continue;
      const program = (await readFile(`/proc/${name}/comm`, 'utf8')).trim();
      openers.push({ pid: Number(name), program, writes: access === 'write' });
    } catch (error) {
      // An init, of the host or of a container, has no image open; in a container not even root may look into it.
      if (!isGone(error) && name !== '1') complete = false;
    }
  }
  return { openers, complete };
}

async function accessOf(pid: string, dev: bigint, ino: bigint): Promise<'read' | 'write' | undefined> {
  let access: 'read' | 'write' | undefined;
  for (const fd of await readdir(`/proc/${pid}/fd`)) {
    try {
      const link = await readlink(`/proc/${pid}/fd/${fd}`);
      if (!link.startsWith('/')) continue;
      const info = await readFile(`/proc/${pid}/fdinfo/${fd}`, 'utf8');
      // Linux >= 5.14 tells the inode here: no need to stat files on storages that may hang.
      const inode = /^ino:\s*(\d+)$/m.exec(info)?.[1];
      if (inode !== undefined && BigInt(inode) !== ino) continue;
      const opened = await stat(`/proc/${pid}/fd/${fd}`, { bigint: true });
      if (opened.dev !== dev || opened.ino !== ino) continue;
      // The access mode is in the two lowest bits: O_RDONLY is 0.
      const flags = Number.parseInt(/^flags:\s*([0-7]+)$/m.exec(info)?.[1] ?? '0', 8);
      if ((flags & 3) !== 0) return 'write';
      access = 'read';
    } catch (error) {
      if (!isGone(error)) throw error;
    }
  }
  return access;
}
