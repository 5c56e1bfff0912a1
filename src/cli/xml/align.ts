import { statSync } from 'node:fs';
import { EXIT } from '../../base/index.ts';
import {
  alignDisks,
  type FileSystem,
  formatSnapshot,
  parseDomainDocument,
  parseSnapshot,
  type SnapshotLocation,
} from '../../domainsnapshot/index.ts';
import type { Action } from '../cli.ts';
import { knownFlags, PARSE_FLAGS, readDocuments, type ReadingOptions } from './document.ts';
import { locating } from './format.ts';

export interface AlignCommandOptions extends ReadingOptions {
  readonly domain?: string | undefined;
  readonly defaultLocation: SnapshotLocation;
  readonly uniformInternal?: true | undefined;
  readonly forceDefault?: true | undefined;
}

/** The files of this host. */
const HOST_FILES: FileSystem = {
  isRegularFile: (path) => statSync(path, { throwIfNoEntry: false })?.isFile() === true,
};

/**
 * `blockferry xml align`: prints the snapshot with a disk for each disk of the domain.
 * @throws FerryError XML_FILE, XML_REFUSED, USAGE
 */
export function align(file: string | undefined, options: AlignCommandOptions): Action {
  return async (cli) => {
    const flags = knownFlags('--flags', options.flags, PARSE_FLAGS);
    const { profile } = options;
    const [document] = await readDocuments(cli, file === undefined ? [] : [file]);
    if (document === undefined) throw new TypeError('no document was read');
    const { path, bytes } = document;
    const existingDomain = options.domain === undefined ? undefined : await readDomain(options.domain);
    const xml = locating(path, () => {
      const aligned = alignDisks(parseSnapshot(bytes, { flags, profile }).snapshot, {
        defaultLocation: options.defaultLocation,
        uniformInternal: options.uniformInternal ?? false,
        forceDefault: options.forceDefault ?? false,
        ...(existingDomain === undefined ? {} : { existingDomain }),
        files: HOST_FILES,
      });
      return formatSnapshot(aligned, { profile });
    });
    cli.show('document', [{ path, xml }], () => xml.trimEnd().split('\n'));
    return { outcome: 'done', exitStatus: EXIT.done, message: '' };

    async function readDomain(name: string): Promise<ReturnType<typeof parseDomainDocument>> {
      const [domain] = await readDocuments(cli, [name]);
      return locating(name, () => parseDomainDocument(domain?.bytes ?? new Uint8Array()));
    }
  };
}
