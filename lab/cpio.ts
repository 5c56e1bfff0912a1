/** A file, folder, symbolic link or character device of an archive; `path` is relative to its root. */
export type CpioEntry =
  | { readonly path: string; readonly type: 'file'; readonly mode: number; readonly contents: Buffer }
  | { readonly path: string; readonly type: 'folder' }
  | { readonly path: string; readonly type: 'link'; readonly target: string }
  | { readonly path: string; readonly type: 'device'; readonly major: number; readonly minor: number };

const MODE = { file: 0o100000, folder: 0o040755, link: 0o120777, device: 0o020600 } as const;

/**
 * An archive in the "newc" format that the kernel unpacks as its initramfs
 * (Documentation/driver-api/early-userspace/buffer-format.rst). Written here and not by cpio(1), because making device
 * files on disk takes root.
 */
export function cpio(entries: readonly CpioEntry[]): Buffer {
  const pieces: Buffer[] = [];
  const add = (bytes: Buffer): void => {
    pieces.push(bytes);
    if (bytes.length % 4 !== 0) pieces.push(Buffer.alloc(4 - (bytes.length % 4)));
  };
  const record = (
    path: string,
    inode: number,
    mode: number,
    contents: Buffer,
    device: readonly [number, number],
  ): void => {
    const name = Buffer.from(`${path}\0`);
    const fields = [inode, mode, 0, 0, 1, 0, contents.length, 0, 0, device[0], device[1], name.length, 0];
    const header = `070701${fields.map((field) => field.toString(16).padStart(8, '0')).join('')}`;
    add(Buffer.concat([Buffer.from(header, 'latin1'), name]));
    add(contents);
  };
  entries.forEach((entry, index) => {
    const mode = MODE[entry.type] | (entry.type === 'file' ? entry.mode : 0);
    const contents = entry.type === 'file' ? entry.contents : Buffer.from(entry.type === 'link' ? entry.target : '');
    record(entry.path, index + 1, mode, contents, entry.type === 'device' ? [entry.major, entry.minor] : [0, 0]);
  });
  record('TRAILER!!!', 0, 0, Buffer.alloc(0), [0, 0]);
  return Buffer.concat(pieces);
}
