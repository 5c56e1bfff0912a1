import { execFileSync, spawn } from 'node:child_process';
import { linkSync, mkdirSync, mkdtempSync, readFileSync, rmSync, statSync, symlinkSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeEach, describe, expect, test } from 'vitest';
import {
  createOverlay,
  foldOffline,
  isInside,
  otherUsersOf,
  probeImage,
  sameFile,
  spaceNeeded,
  storageSpace,
} from './index.ts';

const root = mkdtempSync(join(tmpdir(), 'image-fold-'));
afterAll(() => rmSync(root, { recursive: true }));
let folder = root;
let count = 0;
const at = (name: string): string => join(folder, name);
const MiB = 2 ** 20;
const owner = { uid: process.getuid?.() ?? 0, gid: process.getgid?.() ?? 0, mode: 0o600 };

function io(path: string, format: string, ...commands: string[]): void {
  execFileSync('qemu-io', ['-f', format, ...commands.flatMap((command) => ['-c', command]), path], { stdio: 'pipe' });
}

/** base (raw) <- old (qcow2, 64 KiB clusters) <- top (overlay of ours), with writes to each. */
beforeEach(async () => {
  count += 1;
  folder = join(root, `a folder, ${count}`);
  mkdirSync(folder);
  execFileSync('qemu-img', ['create', '-q', '-f', 'raw', at('base'), '8M']);
  io(at('base'), 'raw', 'write -P 1 0 8M');
  execFileSync('qemu-img', ['create', '-q', '-f', 'qcow2', '-b', 'base', '-F', 'raw', at('old')]);
  io(at('old'), 'qcow2', 'write -P 2 1M 64k');
  await createOverlay({ path: at('top'), virtualSize: 8 * MiB, backing: { name: 'old', format: 'qcow2' }, owner });
  io(at('top'), 'qcow2', 'write -P 3 2M 4k', 'write -P 4 1036k 512', 'write -z 3M 64k');
});

async function whileHeld(path: string, flags: readonly string[], work: (pid: number) => Promise<void>): Promise<void> {
  const holder = spawn('qemu-io', [...flags, path], { stdio: ['pipe', 'pipe', 'inherit'] });
  const ended = new Promise((resolve) => void holder.once('close', resolve));
  try {
    // It answers once it has opened the image.
    holder.stdin.write('length\n');
    await new Promise((resolve) => void holder.stdout.once('data', resolve));
    await work(holder.pid ?? 0);
  } finally {
    holder.stdin.end('quit\n');
    await ended;
  }
}

describe('foldOffline', () => {
  test('brings the overlay into the image below it, and no further', async () => {
    const base = readFileSync(at('base'));
    const overlay = readFileSync(at('top'));
    execFileSync('qemu-img', ['convert', '-O', 'raw', at('top'), at('expected')]);
    const fractions: number[] = [];
    const chain = await foldOffline(at('top'), { onProgress: (fraction) => void fractions.push(fraction) });
    expect(chain.map(({ path }) => path)).toEqual([at('top'), at('old'), at('base')]);
    execFileSync('qemu-img', ['compare', '-f', 'qcow2', '-F', 'raw', at('old'), at('expected')]);
    expect(readFileSync(at('base')).equals(base)).toBe(true);
    // So that it can be repeated.
    expect(readFileSync(at('top')).equals(overlay)).toBe(true);
    expect(fractions.at(-1)).toBe(1);
    await foldOffline(at('top'));
    execFileSync('qemu-img', ['compare', '-f', 'qcow2', '-F', 'raw', at('old'), at('expected')]);
  });

  test.each(['top', 'old'])('refuses while a process has %s open', async (name) => {
    const before = readFileSync(at('old'));
    await whileHeld(at(name), ['-r', '-f', 'qcow2'], async () => {
      await expect(foldOffline(at('top'))).rejects.toMatchObject({ code: 'IMAGE_IN_USE', fields: { path: at(name) } });
    });
    expect(readFileSync(at('old')).equals(before)).toBe(true);
  });

  test('refuses an image without a backing image', async () => {
    execFileSync('qemu-img', ['create', '-q', '-f', 'qcow2', at('alone'), '1M']);
    await expect(foldOffline(at('alone'))).rejects.toMatchObject({ code: 'NOT_AN_OVERLAY' });
  });
});

describe('otherUsersOf', () => {
  test('finds processes, overlays beside it and in other folders, and hard links', async () => {
    const elsewhere = at('elsewhere');
    mkdirSync(elsewhere);
    execFileSync('qemu-img', ['create', '-q', '-f', 'qcow2', '-b', at('base'), '-F', 'raw', at('clone: 2')]);
    execFileSync('qemu-img', ['create', '-q', '-f', 'qcow2', '-b', '../base', '-F', 'raw', join(elsewhere, 'far')]);
    linkSync(at('base'), at('second name'));
    symlinkSync('base', at('symbolic'));
    const image = await probeImage(at('symbolic'), { format: 'raw' });
    await whileHeld(at('second name'), ['-r', '-f', 'raw'], async (pid) => {
      const found = await otherUsersOf(image, { exceptImages: [at('old')], folders: [elsewhere] });
      expect(found).toMatchObject({
        loopDevices: [],
        overlays: [at('clone: 2'), join(elsewhere, 'far')],
        overlaysComplete: true,
        extraLinks: 1,
      });
      expect(found.processes).toEqual([{ pid, program: 'qemu-io', writes: false }]);
      expect((await otherUsersOf(image, { exceptPids: [pid] })).processes).toEqual([]);
      expect((await otherUsersOf(image)).overlays).toEqual([at('clone: 2'), at('old')]);
    });
    await whileHeld(at('base'), ['-f', 'raw'], async (pid) => {
      expect((await otherUsersOf(image)).processes).toEqual([{ pid, program: 'qemu-io', writes: true }]);
    });
  });

  test('says that a folder could not be looked at', async () => {
    const image = await probeImage(at('base'), { format: 'raw' });
    expect(await otherUsersOf(image, { folders: [at('nowhere')] })).toMatchObject({ overlaysComplete: false });
  });
});

test('space: what the file system says, and what copies will take', async () => {
  const space = await storageSpace(folder);
  expect(space.free).toBeLessThanOrEqual(space.total);
  expect(space.device).toBe(String(statSync(folder).dev));
  const base = await probeImage(at('base'), { format: 'raw' });
  const old = await probeImage(at('old'), { format: 'qcow2' });
  expect(spaceNeeded([base, old, base])).toBe(base.allocated + old.allocated);
});

test('sameFile and isInside look through links', async () => {
  mkdirSync(at('inner'));
  symlinkSync(folder, at('inner/up'));
  expect(await sameFile(at('inner/up/base'), at('base'))).toBe(true);
  expect(await sameFile(at('old'), at('base'))).toBe(false);
  expect(await sameFile(at('nothing'), at('base'))).toBe(false);
  expect(await isInside(at('inner/up/base'), folder)).toBe(true);
  expect(await isInside(folder, at('inner'))).toBe(false);
  expect(await isInside(folder, folder)).toBe(true);
  expect(await isInside(folder, '/')).toBe(true);
});
