import { readFileSync } from 'node:fs';

/** The version of this blockferry: package.json stands two folders up, from `src/cli` as from `lib/cli` of the package. */
export function version(): string {
  const text = readFileSync(new URL('../../package.json', import.meta.url), 'utf8');
  return (JSON.parse(text) as { version: string }).version;
}
