import { resolve } from 'node:path';
import type { MigrationRequest } from '../migration/index.ts';
import { type Disk, findDisk } from '../vm/index.ts';

/** The options of `plan` and `migrate` as the command line gives them. */
export interface MigrationOptions {
  readonly to?: string;
  /** Each `--disk`, as written. */
  readonly disk: readonly string[];
  /** Bytes per second. */
  readonly bwlimit?: number;
  /** Milliseconds. */
  readonly maxHold?: number;
  /** False with --no-mirror-server. */
  readonly mirrorServer?: boolean;
  readonly keepSource?: boolean;
  readonly leaveLink?: boolean;
  readonly slowGuest?: boolean;
  /** False with --no-fold. */
  readonly fold: boolean;
  /** False with --no-verify. */
  readonly verify: boolean;
}

/** What the user asks for. Relative folders are those of the current directory. */
export function migrationRequest(options: MigrationOptions, disks: readonly Disk[], cwd: string): MigrationRequest {
  return {
    ...(options.to !== undefined && { to: resolve(cwd, options.to) }),
    disks: options.disk.map((text) => diskOption(text, disks, cwd)),
    bandwidth: options.bwlimit ?? 0,
    ...(options.maxHold !== undefined && { maxHoldMs: options.maxHold }),
    ...(options.mirrorServer === false && { mirrorServer: false }),
    keepSource: options.keepSource ?? false,
    leaveLink: options.leaveLink ?? false,
    fold: options.fold,
    verify: options.verify,
    ...(options.slowGuest && { slowGuest: true }),
  };
}

/** `ID` or `ID=DIR`. The name of a disk may itself have a `=` in it: then the whole is the name. */
function diskOption(text: string, disks: readonly Disk[], cwd: string): MigrationRequest['disks'][number] {
  const at = text.indexOf('=');
  if (at < 0 || findDisk(disks, text)) return { name: text };
  return { name: text.slice(0, at), to: resolve(cwd, text.slice(at + 1)) };
}
