import { createCipheriv } from 'node:crypto';
import { rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { run } from '../src/base/index.ts';
import type { QemuBuild } from './qemu-builds.ts';

/** A part of an image's contents: one byte over and over, or pseudo-random bytes that follow from a seed. */
export type ImageFill = { readonly bytes: number; readonly offset?: number } & (
  | { readonly pattern: number }
  | { readonly seed: number }
);

export interface ImageOptions {
  readonly path: string;
  readonly format: 'raw' | 'qcow2';
  /** Bytes; with a backing image it may be left out: the same size then. */
  readonly size?: number;
  /** `path` is written into the image as it is given: relative to the image's folder, or absolute. */
  readonly backing?: { readonly path: string; readonly format: string };
  /** In order; nothing by default. */
  readonly fill?: ImageFill | readonly ImageFill[];
  /** Format options: `{ cluster_size: '128k', extended_l2: 'on' }`. */
  readonly options?: Readonly<Record<string, string>>;
}

const CHUNK = 2 ** 26;

/** Pseudo-random bytes `[from, from + length)` of the stream of a seed. `from` is a multiple of 16. */
export function seededBytes(seed: number, from: number, length: number): Buffer {
  const key = Buffer.alloc(16);
  key.writeUInt32LE(seed >>> 0);
  const counter = Buffer.alloc(16);
  counter.writeBigUInt64BE(BigInt(from / 16), 8);
  return createCipheriv('aes-128-ctr', key, counter).update(Buffer.alloc(length));
}

/** Makes an image with the build's qemu-img and fills it with qemu-io; `scratch` is a folder for temporary files. */
export async function makeImage(build: QemuBuild, scratch: string, image: ImageOptions): Promise<void> {
  const env = { ...process.env, ...build.env };
  const options = Object.entries(image.options ?? {}).flatMap(([key, value]) => ['-o', `${key}=${value}`]);
  const backing = image.backing ? ['-b', image.backing.path, '-F', image.backing.format] : [];
  const size = image.size === undefined ? [] : [String(image.size)];
  await run(build.img, ['create', '-q', '-f', image.format, ...options, ...backing, image.path, ...size], { env });
  for (const fill of [image.fill ?? []].flat()) await fillImage(build, scratch, image, fill);
}

async function fillImage(build: QemuBuild, scratch: string, image: ImageOptions, fill: ImageFill): Promise<void> {
  const env = { ...process.env, ...build.env };
  const source = join(scratch, `fill-${Math.random().toString(36).slice(2)}`);
  try {
    for (let done = 0; done < fill.bytes; done += CHUNK) {
      const length = Math.min(CHUNK, fill.bytes - done);
      let from = '';
      if ('pattern' in fill) from = `-P ${fill.pattern}`;
      else {
        from = `-s ${source}`;
        await writeFile(source, seededBytes(fill.seed, done, length));
      }
      const command = `write ${from} ${(fill.offset ?? 0) + done} ${length}`;
      await run(build.io, ['-f', image.format, '-t', 'writeback', '-c', command, image.path], { env });
    }
  } finally {
    await rm(source, { force: true });
  }
}
