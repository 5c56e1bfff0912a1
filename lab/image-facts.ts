import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { run } from '../src/base/index.ts';
import type { QemuBuild } from './qemu-builds.ts';
import { StorageDaemon } from './storage-daemon.ts';
import { writeKind, type WriteRecord, writeOffset } from './write-pattern.ts';

/** What `qemu-img info` says of one image. */
export interface ImageFacts {
  readonly filename: string;
  readonly format: string;
  readonly 'virtual-size': number;
  readonly 'backing-filename'?: string;
  readonly 'backing-filename-format'?: string;
}

/** The images of a chain as their own headers name them, active image first. A VM may have them open. */
export async function chainFacts(build: QemuBuild, path: string): Promise<ImageFacts[]> {
  const { stdout } = await run(build.img, ['info', '-U', '--backing-chain', '--output=json', path], {
    env: { ...process.env, ...build.env },
  });
  return JSON.parse(stdout) as ImageFacts[];
}

/** Whether two chains hold the same disk, by `qemu-img compare`. A VM may have them open. */
export async function sameDisk(build: QemuBuild, a: string, b: string): Promise<boolean> {
  const formats = [];
  for (const path of [a, b]) formats.push((await chainFacts(build, path))[0]?.format ?? 'raw');
  const [formatA = '', formatB = ''] = formats;
  const { status } = await run(build.img, ['compare', '-q', '-U', '-f', formatA, '-F', formatB, a, b], {
    env: { ...process.env, ...build.env },
    accept: [0, 1],
  });
  return status === 0;
}

/**
 * The acknowledged writes that a persistent bitmap of a qcow2 image does not mark. No VM may have the image open. Discards
 * do not count: one that met nothing in the overlay has changed nothing, so the fold does not mark it.
 */
export async function unmarkedWrites(
  build: QemuBuild,
  path: string,
  bitmap: string,
  record: WriteRecord,
): Promise<number[]> {
  const directory = await mkdtemp(join(tmpdir(), 'bitmap-'));
  try {
    await using daemon = await StorageDaemon.start({
      directory,
      build,
      nodes: [{ driver: 'qcow2', 'node-name': 'top', 'read-only': true, file: { driver: 'file', filename: path } }],
      exports: [{ name: 'top', node: 'top', writable: false, bitmaps: [bitmap] }],
    });
    const uri = `nbd+unix:///top?socket=${daemon.nbdSocket}`;
    const { stdout } = await run('nbdinfo', ['--json', `--map=qemu:dirty-bitmap:${bitmap}`, uri]);
    const extents = (JSON.parse(stdout) as { offset: number; length: number; type: number }[]).filter(
      ({ type }) => type !== 0,
    );
    const unmarked: number[] = [];
    for (let n = 1; n <= record.acknowledged; n += 1) {
      if (writeKind(record, n) === 'discard') continue;
      const at = writeOffset(record, n);
      const end = at + record.blockSize;
      if (!extents.some(({ offset, length }) => offset <= at && end <= offset + length)) unmarked.push(n);
    }
    return unmarked;
  } finally {
    await rm(directory, { recursive: true, force: true });
  }
}
