import { dirname, isAbsolute, relative } from 'node:path';

/**
 * Whether QEMU takes this name for something else than a file: `json:{…}`, `nbd:…`, `https://…`. QEMU's rule
 * (path_has_protocol) is a colon before the first slash, whatever stands before the colon.
 */
export function isProtocolName(name: string): boolean {
  const end = name.search(/[:/]/);
  return end >= 0 && name[end] === ':';
}

/**
 * The name to store in `fromFile`'s header so that QEMU finds `toFile`: relative to `fromFile`'s folder, with `./` in
 * front where QEMU would take the name for a protocol otherwise (`a:b.qcow2`). The relation is that of the two paths as
 * written: `..` steps over a folder that is a symbolic link lead elsewhere, so give real paths when the folders differ.
 */
export function relativeBackingName(fromFile: string, toFile: string): string {
  const name = relative(dirname(fromFile), toFile);
  return isProtocolName(name) ? `./${name}` : name;
}

/**
 * The path that QEMU opens for a backing name in the header of `imagePath` (absolute): joined as text, for `..` after a
 * symbolic link is the kernel's business. A name that is not a file's is returned as it is.
 */
export function resolveBackingName(imagePath: string, written: string): string {
  if (isAbsolute(written) || isProtocolName(written)) return written;
  const folder = dirname(imagePath);
  return `${folder === '/' ? '' : folder}/${written.replace(/^(?:\.\/+)+/, '')}`;
}
