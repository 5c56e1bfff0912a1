import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { errnoOf, ferryError, messageOf } from '../../base/index.ts';
import { DomainSnapshotError } from '../errors.ts';
import { RelaxNgSchema } from '../xml/relaxng.ts';
import { type SchemaMirror, withMirror } from './hunk.ts';

/** Where Debian's libvirt0 and most other packages of libvirt have the schemas. */
export const SCHEMA_FOLDER = '/usr/share/libvirt/schemas';

const FILE = 'domainsnapshot.rng';

/** Which schema is loaded. */
export interface SchemaOptions {
  /** Folder with libvirt's `domainsnapshot.rng` and the files it includes. Default: `SCHEMA_FOLDER`. */
  readonly folder?: string;
  /** What of mirrors is valid. Default: `file`, the one-line form. */
  readonly mirror?: SchemaMirror;
}

/** libvirt's RELAX NG schema of `<domainsnapshot>`, with the mirror put in. Safe to keep and use for any number of checks. */
export class SnapshotSchema implements Disposable {
  /** The file that it was read from. */
  readonly path: string;
  /** Whether the schema is of a libvirt that knows `<revertDisks>` (11.3 does, 9.0 does not). */
  readonly knowsRevertDisks: boolean;
  readonly #schema: RelaxNgSchema;

  /** @param rng Text of the schema as it is used; `schema` is compiled from it. */
  constructor(path: string, rng: string, schema: RelaxNgSchema) {
    this.path = path;
    this.knowsRevertDisks = rng.includes('revertDisks');
    this.#schema = schema;
  }

  /** libxml2's messages about a well-formed document, none when it is valid. */
  problems(xml: string | Uint8Array): readonly string[] {
    return typeof xml === 'string'
      ? this.#schema.validate(Buffer.from(xml, 'utf8'), 'utf-8')
      : this.#schema.validate(xml, undefined);
  }

  /**
   * Does nothing for a valid document.
   * @throws DomainSnapshotError VIR_ERR_XML_INVALID_SCHEMA, with libxml2's messages line by line.
   */
  check(xml: string | Uint8Array): void {
    const problems = this.problems(xml);
    if (problems.length === 0) return;
    throw new DomainSnapshotError(
      'VIR_ERR_XML_INVALID_SCHEMA',
      `Unable to validate doc against ${this.path}\n${problems.map((line) => `${line}\n`).join('')}`,
    );
  }

  [Symbol.dispose](): void {
    this.#schema[Symbol.dispose]();
  }
}

/**
 * Loads libvirt's schema of `<domainsnapshot>` from the machine and puts the mirror in. Takes about 0.1 s; nothing of
 * libvirt's files is part of this package.
 *
 * @throws FerryError SCHEMA_MISSING when the files are not there, SCHEMA_UNKNOWN when they are not what libvirt ships.
 */
export function loadSnapshotSchema(options: SchemaOptions = {}): SnapshotSchema {
  const folder = options.folder ?? SCHEMA_FOLDER;
  const path = join(folder, FILE);
  const rng = withMirror(readSchema(path), options.mirror ?? 'file');
  if (rng === undefined) {
    throw ferryError('SCHEMA_UNKNOWN', { path, reason: 'the definition storageSourceExtra is not where it was' });
  }
  try {
    return new SnapshotSchema(path, rng, RelaxNgSchema.compile(rng, folder, FILE));
  } catch (error) {
    throw ferryError('SCHEMA_UNKNOWN', { path, reason: messageOf(error).trim() }, { cause: error });
  }
}

function readSchema(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch (error) {
    throw ferryError('SCHEMA_MISSING', { path, reason: errnoOf(error) ?? messageOf(error) }, { cause: error });
  }
}
