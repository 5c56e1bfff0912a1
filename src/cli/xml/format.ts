import { EXIT } from '../../base/index.ts';
import { DomainSnapshotError, type FormatFlag, formatSnapshot, parseSnapshot } from '../../domainsnapshot/index.ts';
import type { Action } from '../cli.ts';
import { knownFlags, PARSE_FLAGS, readDocuments, type ReadingOptions, refused } from './document.ts';

export interface FormatOptions extends ReadingOptions {
  readonly formatFlags?: readonly string[] | undefined;
  readonly uuid?: string | undefined;
}

const FORMAT_FLAGS: readonly FormatFlag[] = ['SECURE', 'INTERNAL', 'CURRENT'];

/**
 * `blockferry xml format`: prints each document as libvirt would.
 * @throws FerryError XML_FILE, XML_REFUSED, USAGE
 */
export function format(files: readonly string[], options: FormatOptions): Action {
  return async (cli) => {
    const flags = knownFlags('--flags', options.flags, PARSE_FLAGS);
    const formatFlags = knownFlags('--format-flags', options.formatFlags ?? [], FORMAT_FLAGS);
    const { profile, uuid } = options;
    for (const { path, bytes } of await readDocuments(cli, files)) {
      const xml = locating(path, () => {
        const { snapshot } = parseSnapshot(bytes, { flags, profile });
        return formatSnapshot(snapshot, {
          flags: formatFlags,
          profile,
          ...(uuid === undefined ? {} : { domainUuid: uuid }),
        });
      });
      cli.show('document', [{ path, xml }], () => xml.trimEnd().split('\n'));
    }
    return { outcome: 'done', exitStatus: EXIT.done, message: '' };
  };
}

/** Runs what may refuse a document, and names the file in the error. */
export function locating<T>(path: string, action: () => T): T {
  try {
    return action();
  } catch (error) {
    throw error instanceof DomainSnapshotError ? refused(path, error) : error;
  }
}
