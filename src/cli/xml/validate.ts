import { EXIT } from '../../base/index.ts';
import {
  DomainSnapshotError,
  loadSnapshotSchema,
  type ParseOptions,
  parseSnapshot,
} from '../../domainsnapshot/index.ts';
import type { Action } from '../cli.ts';
import { type Document, knownFlags, PARSE_FLAGS, readDocuments, type ReadingOptions, refused } from './document.ts';

export interface ValidateOptions extends ReadingOptions {
  readonly schemaDir?: string | undefined;
  /** False with --no-schema. */
  readonly schema: boolean;
}

/** What became of one document, for programs. */
interface Verdict {
  readonly path: string;
  readonly valid: boolean;
  readonly error?: object;
}

/**
 * `blockferry xml validate`: a line per document, and exit status 3 when one is refused.
 * @throws FerryError XML_FILE, SCHEMA_MISSING, SCHEMA_UNKNOWN, USAGE; XML_REFUSED for a single document.
 */
export function validate(files: readonly string[], options: ValidateOptions): Action {
  return async (cli) => {
    const reading = readingOf(options);
    const documents = await readDocuments(cli, files);
    const errors = documents.map((document) => check(document, reading));
    const [only] = errors;
    if (errors.length === 1 && only !== undefined) throw refused(documents[0]?.path ?? '-', only);
    const verdicts = documents.map(({ path }, place): Verdict => {
      const error = errors[place];
      return error === undefined ? { path, valid: true } : { path, valid: false, error: error.toJSON() };
    });
    cli.show('document', verdicts, () => documents.map(({ path }, place) => line(path, errors[place])));
    const invalid = errors.filter((error) => error !== undefined).length;
    return invalid === 0
      ? { outcome: 'valid', exitStatus: EXIT.done, message: '' }
      : {
          outcome: 'invalid',
          exitStatus: EXIT.refused,
          message: `${invalid} of ${documents.length} documents are refused`,
        };
  };
}

function readingOf(options: ValidateOptions): ParseOptions {
  const flags = knownFlags('--flags', options.flags, PARSE_FLAGS);
  if (!options.schema) return { flags, profile: options.profile };
  const folder = options.schemaDir === undefined ? {} : { folder: options.schemaDir };
  const schema = loadSnapshotSchema({ ...folder, mirror: flags.includes('TYPED_MIRROR') ? 'typed' : 'file' });
  return { flags: [...flags, 'VALIDATE'], profile: options.profile, schema };
}

function check({ bytes }: Document, reading: ParseOptions): DomainSnapshotError | undefined {
  try {
    parseSnapshot(bytes, reading);
    return undefined;
  } catch (error) {
    if (error instanceof DomainSnapshotError) return error;
    throw error;
  }
}

function line(path: string, error: DomainSnapshotError | undefined): string {
  return error === undefined ? `${path}: valid` : refused(path, error).message;
}
