import type {
  BackingReference,
  Chain,
  CopyOptions,
  CopyRequest,
  ImageInfo,
  Openers,
  OverlayOptions,
  ServedImage,
  StorageSpace,
  VerifyOptions,
  VerifyResult,
} from '../image/index.ts';
import type { Clock } from '../base/index.ts';
import type { ControlHandler } from '../journal/index.ts';
import type { VmIdentity } from '../vm/index.ts';
import type { FileMark } from './file-mark.ts';
import type { Stamp } from './recovery/snapshot-stamp.ts';

/**
 * The host as a migration acts on it: files, images, and who drives. With the VM, the journal and the clock that is all
 * there is outside of the engine. `realHost` does it; `lab/simulation` has one whose every effect can be followed by a crash.
 *
 * What is not said here is said where the function of the same name is made (`src/image`).
 */
export interface Host {
  createOverlay(overlay: OverlayOptions): Promise<void>;
  copyImage(request: CopyRequest, options: CopyOptions): Promise<unknown>;
  verifyCopy(options: VerifyOptions): Promise<VerifyResult>;
  probeImage(path: string, options: { readonly format: string }): Promise<ImageInfo>;
  probeChain(path: string, options: { readonly format: string } & Within): Promise<Chain>;
  rewriteBacking(path: string, backing: BackingReference): Promise<void>;
  foldOffline(overlay: string, options: Within): Promise<unknown>;

  /** Where the sockets of a server are to be; a name that is not used twice. */
  serverFolder(id: string, n: number): string;
  /** Serves images to a VM. @returns the path of the socket */
  serveImages(folder: string, images: readonly ServedImage[], vm: Pick<VmIdentity, 'pid'>): Promise<string>;
  imageServerAnswers(folder: string): Promise<boolean>;
  cutImageServer(folder: string): Promise<void>;
  endImageServer(folder: string): Promise<void>;

  syncFile(path: string): Promise<void>;
  syncFolder(path: string): Promise<void>;
  /** Removes a file, if it is there, so that it stays removed whatever happens next. */
  removeFile(path: string): Promise<void>;
  /** Gives a file another name in the same folder, over a file that has it already, so that it keeps it whatever happens. */
  renameFile(path: string, to: string): Promise<void>;
  /** Makes a symbolic link of this name. */
  makeLink(leadsTo: string, path: string): Promise<void>;
  /** Where a symbolic link leads; undefined where there is none. */
  readLink(path: string): Promise<string | undefined>;

  /** Undefined where there is no such file. Symbolic links are not followed. */
  fileMark(path: string): Promise<FileMark | undefined>;
  stampOf(path: string): Promise<Stamp>;
  openersOf(path: string): Promise<Openers>;
  storageSpace(folder: string): Promise<StorageSpace>;
  /** Whether the storage of a file or folder answers within so many milliseconds. */
  storageAnswers(path: string, withinMs: number): Promise<boolean>;

  /** The right to drive a migration of the journal in this folder; undefined while a process that lives has it. */
  claim(stateDir: string, id: string, handler: ControlHandler, clock?: Clock): Promise<AsyncDisposable | undefined>;
}

interface Within {
  /** The images that the plan has: a header that leads to another is not followed. */
  readonly within: readonly string[];
}

/** Device and inode of a file as `DEV:INO`; undefined where there is none. Symbolic links are not followed. */
export async function identityOf(host: Host, path: string): Promise<string | undefined> {
  const mark = await host.fileMark(path);
  return mark && `${mark.dev}:${mark.ino}`;
}
