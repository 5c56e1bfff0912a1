// node setup/generate-api-docs.ts: writes docs/api/ROOM.md out of the docstrings.
import { mkdirSync, writeFileSync } from 'node:fs';
import { API_PAGES, apiDocs } from './api-docs.ts';

const folder = new URL('../docs/api/', import.meta.url);
mkdirSync(folder, { recursive: true });
for (const [room, titles] of Object.entries(API_PAGES)) {
  writeFileSync(new URL(`${room}.md`, folder), apiDocs(room, titles));
}
