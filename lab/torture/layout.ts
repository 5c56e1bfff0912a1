import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { run } from '../../src/base/index.ts';
import type { DiskStyle, Lab, LabDisk, WriterOptions } from '../index.ts';
import type { Random } from './random.ts';

const MiB = 2 ** 20;
/** What the guest sees, of every disk: a saved guest knows the sizes. */
export const DISK_SIZE: number = 32 * MiB;
/** A guest of the lab has so many ports for writers, and each disk has one. */
export const MOST_DISKS = 8;

/** The images of one disk, the lowest first. */
export interface DiskLayout {
  readonly images: readonly ImageLayout[];
  readonly options: Pick<LabDisk, 'iothread' | 'cache' | 'discard' | 'explicitChain' | 'separateFileNode'>;
}

export interface ImageLayout {
  readonly name: string;
  readonly format: 'raw' | 'qcow2';
  /** Of qcow2: its format options. */
  readonly clusters: Readonly<Record<string, string>>;
  /** MiB of random bytes, from its middle or its beginning. */
  readonly fill: number;
  readonly seed: number;
}

/** The disks of a VM, what they are made of, and what the guest does to them. Plain data. */
export interface Layout {
  readonly style: DiskStyle;
  /** For a VM of libvirt: whether it is defined. */
  readonly persistent: boolean;
  readonly disks: readonly DiskLayout[];
  /** The disk is the index of one. */
  readonly writers: readonly (Omit<WriterOptions, 'disk'> & { readonly disk: number })[];
}

const CLUSTERS: readonly [Readonly<Record<string, string>>, ...Readonly<Record<string, string>>[]] = [
  {},
  {},
  { cluster_size: '4k' },
  { cluster_size: '2M' },
  { cluster_size: '128k', extended_l2: 'on' },
];

/** @param counts how many disks it may have */
export function chooseLayout(random: Random, counts: readonly [number, ...number[]]): Omit<Layout, 'persistent'> {
  const style = random.pick(['blockdev', 'drive'] as const);
  const count = random.pick(counts);
  const iothreads = random.pick(['none', 'none', 'one', 'each'] as const);
  const shared = random.chance(0.25) ? chooseImage(random, 'shared') : undefined;
  const disks: DiskLayout[] = [];
  const writers: Layout['writers'][number][] = [];
  for (let n = 0; n < count; n++) {
    const depth = random.pick([1, 1, 2, 3]);
    const images: ImageLayout[] = [];
    for (let at = depth; at >= 1; at--) {
      const name = `disk${n}${at > 1 ? `-below${at - 1}` : ''}`;
      const base = at === depth ? shared : undefined;
      if (base && depth > 1) images.push(base);
      else images.push(chooseImage(random, name, images.length > 0));
    }
    const explicitChain = style === 'blockdev' && random.chance(0.4);
    disks.push({
      images,
      options: {
        ...(iothreads !== 'none' && { iothread: iothreads === 'one' ? 'io' : `io${n}` }),
        ...(random.chance(0.4) && { cache: 'none' }),
        ...(random.chance(0.5) && { discard: 'unmap' }),
        ...(explicitChain && { explicitChain, separateFileNode: random.chance(0.5) }),
      },
    });
    writers.push(...chooseWriters(random, n, count));
  }
  return { style, disks, writers };
}

function chooseImage(random: Random, stem: string, backed = false): ImageLayout {
  const format = backed ? 'qcow2' : random.pick(['qcow2', 'raw'] as const);
  const clusters = format === 'raw' ? {} : random.pick(CLUSTERS);
  return { name: `${stem}.${format}`, format, clusters, fill: random.pick([4, 20]), seed: random.pick([1, 2, 3]) };
}

/** 512 bytes are less than any cluster or subcluster; a small region is written over and over. */
function chooseWriters(random: Random, disk: number, disks: number): Layout['writers'][number][] {
  const rate = random.pick([20, 60, 150, 300]) / disks;
  const count = random.chance(0.25) && 2 * disks <= MOST_DISKS ? 2 : 1;
  return Array.from({ length: count }, (_, n) => {
    const small = random.chance(0.3);
    const length = (small ? random.pick([1, 2]) : 8) * MiB;
    return {
      disk,
      seed: 1 + disk * 8 + n + 64 * random.integer(1000),
      rate: Math.max(10, Math.round(rate / count)),
      blockSize: small ? 512 : random.pick([4096, 4096, 16_384]),
      region: { offset: (4 + 12 * n) * MiB, length },
      zeroEvery: random.pick([0, 0, 5]),
      discardEvery: random.pick([0, 0, 7]),
    };
  });
}

/**
 * Images that were made before, to be copied: making one takes longer than all else that a trial does before its guest
 * writes. One for each process.
 */
export class ImageStock {
  readonly #folder: string;
  readonly #lab: Lab;
  readonly #made = new Map<string, Promise<string>>();

  constructor(lab: Lab) {
    this.#lab = lab;
    this.#folder = join(lab.folder, 'stock');
  }

  /** Makes the images of a layout in these folders (all the same), and says what the VM's disks are in the first. */
  async make(layout: Layout, folders: readonly [string, ...string[]]): Promise<LabDisk[]> {
    const images = new Map<string, string>();
    for (const disk of layout.disks) {
      for (const [at, image] of disk.images.entries()) {
        const below = at > 0 ? disk.images[at - 1] : undefined;
        if (!images.has(image.name)) images.set(image.name, await this.#image(image, below));
      }
    }
    for (const folder of folders) {
      for (const [name, path] of images) await run('cp', ['--sparse=always', path, join(folder, name)]);
    }
    return layout.disks.map(({ images: chain, options }, n): LabDisk => {
      const { name, format } = chain.at(-1) as ImageLayout;
      return { id: `d${n}`, path: join(folders[0], name), format, ...options };
    });
  }

  async #image(image: ImageLayout, below: ImageLayout | undefined): Promise<string> {
    const { name, ...contents } = image;
    const key = JSON.stringify([contents, below?.name, below?.format]);
    const known = this.#made.get(key) ?? this.#fresh(`${this.#made.size}-${name}`, image, below);
    this.#made.set(key, known);
    return await known;
  }

  /** The name of the image below is written into the header, and not followed: it is there only in the trial's folder. */
  async #fresh(name: string, { format, clusters, fill, seed }: ImageLayout, below?: ImageLayout): Promise<string> {
    await mkdir(this.#folder, { recursive: true });
    const path = join(this.#folder, name);
    const offset = below ? DISK_SIZE / 4 : 0;
    const bytes = Math.min(fill * MiB, DISK_SIZE - offset);
    await this.#lab.image({ path, format, size: DISK_SIZE, options: clusters, fill: { bytes, offset, seed } });
    if (below) {
      const { img, env } = this.#lab.build;
      const args = ['rebase', '-u', '-f', format, '-F', below.format, '-b', below.name, path];
      await run(img, args, { env: { ...process.env, ...env } });
    }
    return path;
  }
}
