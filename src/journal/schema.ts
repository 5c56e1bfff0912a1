import { readdirSync, readFileSync } from 'node:fs';

/** One numbered file of `sql/`: what brings a journal from version `number - 1` to `number`. */
export interface SchemaFile {
  readonly number: number;
  readonly sql: string;
}

/** `PRAGMA application_id` of a journal: 'BLKF'. */
export const APPLICATION_ID = 0x424c4b46;

/**
 * Reads `sql/000001.sql`, `sql/000002.sql`, … from beside this module (also in the published package, where the build
 * copies them). A file that was released is never changed: a change is a new file.
 */
export function schemaFiles(): readonly SchemaFile[] {
  const folder = new URL('sql/', import.meta.url);
  const names = readdirSync(folder)
    .filter((name) => /^\d{6}\.sql$/.test(name))
    .toSorted();
  return names.map((name) => ({ number: Number(name.slice(0, 6)), sql: readFileSync(new URL(name, folder), 'utf8') }));
}
