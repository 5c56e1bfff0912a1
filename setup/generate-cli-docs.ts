// Writes docs/cli.md, and in docs/errors.md what comes from the registry: node setup/generate-cli-docs.ts
import { readFileSync, writeFileSync } from 'node:fs';
import { cliDocs } from './cli-docs.ts';
import { refreshErrorDocs } from './error-docs.ts';

writeFileSync(new URL('../docs/cli.md', import.meta.url), cliDocs());
const errors = new URL('../docs/errors.md', import.meta.url);
writeFileSync(errors, refreshErrorDocs(readFileSync(errors, 'utf8')));
