import { isQcow2 } from './qcow2-header.ts';

/** First bytes of the formats that QEMU would guess (their probe functions), in text or in bytes. */
const MAGICS: readonly (readonly [format: string, offset: number, magic: string])[] = [
  ['qcow', 0, 'QFI\xfb'],
  ['qed', 0, 'QED\0'],
  ['luks', 0, 'LUKS\xba\xbe'],
  ['vmdk', 0, 'KDMV'],
  ['vmdk', 0, 'COWD'],
  ['vmdk', 0, '# Disk DescriptorFile'],
  ['vhdx', 0, 'vhdxfile'],
  ['vpc', 0, 'conectix'],
  ['vdi', 64, '\x7f\x10\xda\xbe'],
  ['parallels', 0, 'WithoutFreeSpace'],
  ['parallels', 0, 'WithouFreSpacExt'],
];

/**
 * The format that a file seems to have. QEMU's own probing is never used: a format driver that is chosen by what a
 * guest wrote into its raw disk may open whatever files that content names.
 */
export function guessFormat(start: Buffer): string {
  if (isQcow2(start)) return 'qcow2';
  const known = MAGICS.find(([, offset, magic]) => start.toString('latin1', offset, offset + magic.length) === magic);
  return known?.[0] ?? 'raw';
}
