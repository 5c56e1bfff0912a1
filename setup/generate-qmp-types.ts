// Writes src/qmp/generated/commands.ts from what a QEMU says about itself:
//   node setup/generate-qmp-types.ts [QEMU_BINARY]
import { writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { TypeGenerator } from './qmp-types/generator.ts';
import { installedSchema } from './qmp-types/installed-schema.ts';

const { version, schema } = await installedSchema(process.argv[2] ?? 'qemu-system-x86_64');
const path = fileURLToPath(new URL('../src/qmp/generated/commands.ts', import.meta.url));
writeFileSync(path, new TypeGenerator(schema).generate(version));
