import type { FerryError } from '../../base/index.ts';
import type { Chain } from '../../image/index.ts';
import type { Disk, Inventory } from '../../vm/index.ts';
import type { MigrationRequest } from './request.ts';

/** What was found out about one disk that was asked for. */
export interface SurveyedDisk {
  readonly disk: Disk;
  /** Where it is to go: as the user wrote it, and with symbolic links resolved; undefined when no folder was given. */
  readonly folder?: string;
  /** The chain on storage, active image first; empty where it could not be read. */
  readonly chain: Chain;
  /** Why the chain cannot be moved, as found in the files. */
  readonly refusals: readonly FerryError[];
}

/** What is found out about the VM and the disks that were asked for, whatever is to be done with them. */
export type SourceSurvey = Pick<Survey, 'request' | 'inventory' | 'disks' | 'unknown'>;

/** What was found out about a folder on a target storage. */
export interface SurveyedFolder {
  /** With symbolic links resolved. */
  readonly path: string;
  readonly problem?: 'missing' | 'not-a-folder' | 'not-writable';
  /** What QEMU said when it was asked to look into it. */
  readonly cannotOpen?: string;
  readonly names: ReadonlySet<string>;
}

/** Free space of the file system that a folder is on, in bytes. */
export interface SurveyedStorage {
  readonly device: string;
  readonly free: number;
}

/** Whoever else uses an image besides the disks that move. */
export interface OtherUse {
  /** In words: `the image …/clone.qcow2 stands on it`. Empty: nobody found. */
  readonly reasons: readonly string[];
}

/**
 * Everything that the plan is made from: one look at the VM, its images and the storages. Plain data; the same survey
 * always gives the same plan.
 */
export interface Survey {
  readonly id: string;
  readonly request: MigrationRequest;
  readonly inventory: Inventory;
  /** The disks that were asked for, or all that can be moved. */
  readonly disks: readonly SurveyedDisk[];
  /** Names that the user gave and no disk has. */
  readonly unknown: readonly string[];
  /** Folders by their resolved path: targets and sources. */
  readonly folders: ReadonlyMap<string, SurveyedFolder>;
  /** Storages by folder. */
  readonly storages: ReadonlyMap<string, SurveyedStorage>;
  /** Other users by the real path of the source image. */
  readonly otherUse: ReadonlyMap<string, OtherUse>;
  /** Bytes per second that the guest writes now to each disk. */
  readonly writeRate: ReadonlyMap<string, number>;
}
