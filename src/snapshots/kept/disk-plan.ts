import { ferryError } from '../../base/index.ts';
import type { BackingReference, Owner } from '../../image/index.ts';
import type { FileMark, SourceSurvey } from '../../migration/index.ts';
import type { OverlayNode } from '../../vm/index.ts';
import type { OverlayFile } from './overlay-file.ts';

/** The new file of one disk, and everything that it is made with. */
export interface PlannedOverlay extends OverlayNode {
  /** Bytes that the guest sees. */
  readonly size: number;
  readonly owner: Owner;
  /** The image that is active now, with symbolic links followed. */
  readonly active: string;
  readonly backing: BackingReference;
  /** Which file it is, once blockferry has made it. */
  readonly made?: FileMark;
}

/** A snapshot without mirrors, as it is intended. Plain data: it is in the journal before anything is made. */
export interface DiskSnapshotPlan {
  readonly version: 1;
  /** Its `<domainsnapshot>`; the parent is decided when it is recorded. */
  readonly xml: string;
  /** Whether it is recorded (`--no-metadata`: it is not). */
  readonly metadata: boolean;
  /** The user has prepared the files: they are neither made nor removed. */
  readonly prepared: boolean;
  readonly disks: readonly PlannedOverlay[];
  /** The guest's file systems may be frozen for it: they are about to be, or are. */
  readonly frozen?: true;
  /** It was found not to be taken, and its files are being removed. */
  readonly notTaken?: true;
}

/** What stands on what. Names of nodes have at most 31 characters in QEMU. @param id of the snapshot */
export function planOverlays(
  id: string,
  { disks }: Pick<SourceSurvey, 'disks'>,
  files: readonly OverlayFile[],
): readonly PlannedOverlay[] {
  return files.map((file, index) => {
    const surveyed = disks.find(({ disk }) => disk.id === file.disk);
    const [image] = surveyed?.disk.images ?? [];
    const [active] = surveyed?.chain ?? [];
    if (surveyed === undefined || image === undefined || active === undefined) {
      throw ferryError('INTERNAL', { what: `no chain of the disk ${file.disk}` });
    }
    return {
      disk: file.disk,
      node: `bf-${id}-snap${index}`,
      path: file.source,
      base: image.node,
      settings: surveyed.disk.settings,
      size: surveyed.disk.size,
      owner: active.owner,
      active: active.realPath,
      // As libvirt writes it: by the name that the VM has for it, whole, and with its format.
      backing: { name: active.path, format: active.format },
    };
  });
}
