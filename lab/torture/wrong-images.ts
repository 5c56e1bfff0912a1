import { dirname } from 'node:path';
import { parseDomain } from '../../src/vm/libvirt/domain-xml.ts';
import type { ImageToRead } from '../chain-reader.ts';

/**
 * Where a domain's XML names other images for its disks than these, another format for one of them, or one below it that is
 * in another folder. In words.
 */
export function wrongImages(what: string, xml: string, images: readonly ImageToRead[]): string[] {
  const { disks } = parseDomain(xml);
  return images.flatMap(({ path, format }, n) => {
    const [found, ...below] = disks[n]?.images ?? [];
    const same = found?.path === path && found.format === format;
    const elsewhere = below.filter((image) => dirname(image.filename) !== dirname(path));
    return [
      ...(same ? [] : [`${what} has ${found?.path} (${found?.format}) and not ${path} (${format})`]),
      ...elsewhere.map(({ filename }) => `${what} has ${filename} below ${path}`),
    ];
  });
}
