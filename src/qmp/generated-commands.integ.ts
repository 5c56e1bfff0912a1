// The generated types are what the installed QEMU says about itself.
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';
import { TypeGenerator } from '../../setup/qmp-types/generator.ts';
import { installedSchema } from '../../setup/qmp-types/installed-schema.ts';

/** The file without its two lines of header, which name the exact build. */
function body(file: string): string {
  return file.split('\n').slice(2).join('\n');
}

test('src/qmp/generated/commands.ts is up to date', async ({ skip }) => {
  const path = fileURLToPath(new URL('./generated/commands.ts', import.meta.url));
  const text = readFileSync(path, 'utf8');
  const { version, schema } = await installedSchema('qemu-system-x86_64');
  const release = /QEMU \d+\.\d+/;
  const [made] = release.exec(text) ?? [];
  const [installed] = release.exec(version) ?? [];
  skip(made !== installed, `the types are those of ${made}, installed is ${installed}: nothing to compare`);
  expect(body(new TypeGenerator(schema).generate(version))).toBe(body(text));
});
