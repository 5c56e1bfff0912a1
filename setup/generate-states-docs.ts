// Writes docs/states.md out of what the code decides: node setup/generate-states-docs.ts
import { writeFileSync } from 'node:fs';
import { statesDocs } from './states-docs.ts';

writeFileSync(new URL('../docs/states.md', import.meta.url), statesDocs());
