import { readFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { buffer } from 'node:stream/consumers';
import { errnoOf, type FerryError, ferryError, messageOf } from '../../base/index.ts';
import type { DomainSnapshotError, ParseFlag, Profile } from '../../domainsnapshot/index.ts';
import type { Cli } from '../cli.ts';

/** The options that say how a document is read. */
export interface ReadingOptions {
  readonly flags: readonly string[];
  readonly profile: Profile;
}

/** A document that was read from somewhere. */
export interface Document {
  /** The file as it was given; `-` for standard input. */
  readonly path: string;
  readonly bytes: Uint8Array;
}

/**
 * Reads files, or standard input when none is given.
 * @throws FerryError XML_FILE
 */
export async function readDocuments(cli: Cli, files: readonly string[]): Promise<readonly Document[]> {
  const documents: Document[] = [];
  for (const path of files.length === 0 ? ['-'] : files) {
    documents.push({ path, bytes: await readBytes(cli, path) });
  }
  return documents;
}

async function readBytes(cli: Cli, path: string): Promise<Uint8Array> {
  try {
    if (path === '-') return await buffer(cli.surroundings.stdin);
    return readFileSync(resolve(cli.surroundings.cwd, path));
  } catch (error) {
    throw ferryError('XML_FILE', { path, reason: errnoOf(error) ?? messageOf(error) }, { cause: error });
  }
}

/**
 * The words of an option, of which each must be known.
 * @throws FerryError USAGE
 */
export function knownFlags<F extends string>(
  option: string,
  given: readonly string[],
  known: readonly F[],
): readonly F[] {
  return given.map((word) => {
    const flag = known.find((each) => each === word);
    if (flag === undefined)
      throw ferryError('USAGE', { what: `${option}: there is no flag '${word}' (${known.join(', ')})` });
    return flag;
  });
}

/** The parse flags that the command line takes; VALIDATE is `blockferry xml validate`. */
export const PARSE_FLAGS: readonly ParseFlag[] = ['REDEFINE', 'INTERNAL', 'OFFLINE', 'MIRROR', 'TYPED_MIRROR', 'DISKS'];

/** libvirt's refusal of a document, as an error of the command line; its code, number and place are in the details. */
export function refused(path: string, error: DomainSnapshotError): FerryError {
  return ferryError(
    'XML_REFUSED',
    { path, line: error.line ?? 1, message: error.message.trimEnd() },
    { cause: error, details: error.toJSON() as Record<string, unknown> },
  );
}
