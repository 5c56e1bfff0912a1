import { existsSync } from 'node:fs';
import { mkdir, mkdtemp, readdir, rename, rm } from 'node:fs/promises';
import { join } from 'node:path';

/** Where the lab keeps what takes time to make: `BLOCKFERRY_CACHE`, else `.cache` in the checkout. */
export function cacheFolder(): string {
  return process.env['BLOCKFERRY_CACHE'] ?? join(import.meta.dirname, '..', '.cache');
}

/** Whether a process of this user or another one runs under this id. */
export function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM';
  }
}

/**
 * The folder `name` of the cache, made on first use. It is made under another name and renamed when it is complete, so
 * that an interruption leaves nothing that looks finished, and two processes that make it at once both get a whole one.
 */
export async function cached(name: string, make: (folder: string) => Promise<void>): Promise<string> {
  const final = join(cacheFolder(), name);
  if (existsSync(final)) return final;
  await mkdir(cacheFolder(), { recursive: true });
  await removeAbandoned();
  const folder = await mkdtemp(join(cacheFolder(), `making-${process.pid}-`));
  try {
    await make(folder);
    await rename(folder, final).catch((error: unknown) => {
      // Another process was quicker: its folder is as good as ours.
      if (!existsSync(final)) throw error;
    });
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
  return final;
}

/** Removes what processes that no longer run left half made. */
async function removeAbandoned(): Promise<void> {
  for (const entry of await readdir(cacheFolder())) {
    const pid = /^making-(\d+)-/.exec(entry)?.[1];
    if (pid !== undefined && !isAlive(Number(pid)))
      await rm(join(cacheFolder(), entry), { recursive: true, force: true });
  }
}
