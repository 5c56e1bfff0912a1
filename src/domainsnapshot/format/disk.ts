import { hasPathOrFormat, type SnapshotDisk } from '../model/snapshot.ts';
import { pathOf } from '../model/source.ts';
import type { XmlWriter } from '../xml/writer.ts';
import { formatMirror } from './mirror.ts';
import { formatSource } from './source.ts';

/**
 * A disk as libvirt writes it today. Without a path or a format nothing of the source is written: a metadata cache, a
 * group of descriptors, an NVMe address or an NBD host alone are lost, as in libvirt. A mirror never is.
 */
export function formatDisk(writer: XmlWriter, disk: SnapshotDisk): void {
  const described = hasPathOrFormat(disk);
  const { mirror } = disk;
  writer.element(
    'disk',
    [
      ['name', disk.name],
      ['snapshot', disk.location],
      ['type', described || mirror !== undefined ? disk.source.type : undefined],
    ],
    () => {
      if (disk.deleteInProgress === true) writer.empty('snapshotDeleteInProgress');
      if (described) {
        writer.element('driver', [['type', disk.format]], () => {
          if (disk.metadataCacheSize === undefined) return;
          writer.open('metadata_cache', [], () => writer.text('max_size', disk.metadataCacheSize, [['unit', 'bytes']]));
        });
        formatSource(writer, disk.source);
      }
      if (mirror !== undefined) formatMirror(writer, mirror, disk.format);
    },
  );
}

/** A disk as the patch of 2012 writes it, to the letter: a mirror alone is lost. */
export function formatDisk2012(writer: XmlWriter, disk: SnapshotDisk): void {
  const attributes = [
    ['name', disk.name],
    ['snapshot', disk.location],
  ] as const;
  if (!hasPathOrFormat(disk)) return writer.empty('disk', attributes);
  return writer.open('disk', attributes, () => {
    writer.element('driver', [['type', disk.format]]);
    const path = pathOf(disk.source);
    writer.element('source', [['file', path]]);
    if (disk.mirror !== undefined) formatMirror(writer, disk.mirror, disk.format);
  });
}
