import type { Mirror } from '../model/snapshot.ts';
import type { SourceExtras } from '../model/source.ts';
import type { XmlWriter } from '../xml/writer.ts';
import { formatSource } from './source.ts';

function hasExtras(target: SourceExtras): boolean {
  return (
    target.slice !== undefined ||
    (target.securityLabels ?? []).length > 0 ||
    target.auth !== undefined ||
    target.encryption !== undefined ||
    target.reservations !== undefined
  );
}

/** Whether the one-line form of 2012 says it all: a file in the disk's own format, and nothing else set. */
function fitsOneLine(mirror: Mirror, diskFormat: string | undefined): boolean {
  const { target, format, job, ready } = mirror;
  return (
    target.type === 'file' &&
    target.fdGroup === undefined &&
    !hasExtras(target) &&
    (format === undefined || format === diskFormat) &&
    job === undefined &&
    ready === undefined
  );
}

/**
 * `<mirror>`: the one line of 2012 where that is enough, else the typed form with `<format>` before `<source>`. For a file
 * the typed form also has libvirt's older attributes `file` and `format`, as a domain's `<mirror>` does.
 */
export function formatMirror(writer: XmlWriter, mirror: Mirror, diskFormat: string | undefined): void {
  const { target, format } = mirror;
  const file = target.type === 'file' ? (target.path ?? '') : undefined;
  if (fitsOneLine(mirror, diskFormat)) return writer.empty('mirror', [['file', file]]);
  const attributes = [
    ['type', target.type],
    ['file', file],
    ['format', target.type === 'file' ? format : undefined],
    ['job', mirror.job ?? (mirror.ready === undefined ? undefined : 'copy')],
    ['ready', mirror.ready],
  ] as const;
  return writer.element('mirror', attributes, () => {
    writer.element('format', [['type', format]]);
    formatSource(writer, target);
  });
}
