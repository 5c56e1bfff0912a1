// The house of ARCHITECTURE.md: a room of src/ imports only from itself and from the rooms above it in this list.
// `.oxlintrc.json` is generated from it (`node setup/layers.ts`), and a test fails when the two differ.
import { readFileSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

export const ROOMS = [
  'base',
  'domainsnapshot',
  'qmp',
  'libvirt',
  'image',
  'journal',
  'vm',
  'migration',
  'snapshots',
  'cli',
] as const;

type Room = (typeof ROOMS)[number];

interface Ban {
  readonly group: readonly string[];
  readonly message: string;
}

/** Rooms that stand beside each other although one is above: each of these knows nothing of the other. */
const STRANGERS: { readonly [room in Room]?: readonly Room[] } = {
  qmp: ['domainsnapshot'],
  libvirt: ['domainsnapshot', 'qmp'],
  // image talks QMP to a qemu-storage-daemon of its own, which copies.
  image: ['domainsnapshot', 'libvirt'],
  journal: ['domainsnapshot', 'qmp', 'libvirt', 'image'],
};

/** The import bans of one room: every room below it, the strangers beside it, and whatever is outside src/. */
function bans(room: Room): Ban[] {
  const below = ROOMS.slice(ROOMS.indexOf(room) + 1);
  const banned = [...below, ...(STRANGERS[room] ?? [])];
  const patterns: Ban[] = [
    {
      group: ['**/lab/**', '**/bench/**', '**/setup/**'],
      message: `src/${room} is published: it does not import from lab/, bench/ or setup/.`,
    },
  ];
  if (banned.length > 0) {
    patterns.push({
      group: banned.flatMap((other) => [`../${other}/**`, `../../${other}/**`, `../../../${other}/**`]),
      message: `src/${room} imports only from the rooms above it (ARCHITECTURE.md).`,
    });
  }
  return patterns;
}

/** The whole linter configuration. */
export function lintConfig(): object {
  return {
    $schema: './node_modules/oxlint/configuration_schema.json',
    plugins: ['typescript', 'import', 'unicorn', 'vitest', 'node'],
    categories: { correctness: 'error', suspicious: 'error' },
    ignorePatterns: ['dist', '.cache', 'node_modules', '**/generated/**', '**/*.mjs'],
    rules: {
      'typescript/no-floating-promises': 'error',
      'typescript/no-misused-promises': 'error',
      'typescript/await-thenable': 'error',
      'typescript/switch-exhaustiveness-check': ['error', { considerDefaultExhaustiveForUnions: true }],
      'typescript/no-unsafe-argument': 'error',
      'typescript/no-unsafe-assignment': 'error',
      'typescript/no-unsafe-call': 'error',
      'typescript/no-unsafe-member-access': 'error',
      'typescript/no-unsafe-return': 'error',
      'typescript/no-explicit-any': 'error',
      'typescript/only-throw-error': 'error',
      'import/no-cycle': 'error',
      // A loop that awaits is how one thing is done after another; a sequence of disks is usually meant.
      'no-await-in-loop': 'off',
      // Type assertions that narrow parsed JSON are reviewed by eye; the no-unsafe-* rules catch what matters.
      'typescript/no-unsafe-type-assertion': 'off',
      // Fixtures share names with what the tests build from them.
      'no-shadow': 'off',
      // Sorting a copy made on the line itself is clear enough; `toSorted` is used where it reads better.
      'unicorn/no-array-sort': 'off',
      'unicorn/no-array-reverse': 'off',
      // Tests on real parts may check through helpers that throw.
      'vitest/expect-expect': 'off',
      'vitest/require-mock-type-parameters': 'off',
      // vitest's second argument: what to say when the expectation fails.
      'vitest/valid-expect': ['error', { maxArgs: 2 }],
      // Properties have branches.
      'vitest/no-conditional-expect': 'off',
      // `fc.record` is how fast-check is written.
      'import/no-named-as-default-member': 'off',
      // The names that js-xdr gives to what its types are made of.
      'no-underscore-dangle': ['error', { allow: ['_read', '_write'] }],
    },
    overrides: ROOMS.map((room) => ({
      files: [`src/${room}/**/*.ts`],
      excludeFiles: ['**/*.integ.ts'],
      rules: { 'no-restricted-imports': ['error', { patterns: bans(room) }] },
    })),
  };
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const path = new URL('../.oxlintrc.json', import.meta.url);
  const text = `${JSON.stringify(lintConfig(), null, 2)}\n`;
  if (process.argv.includes('--print')) process.stdout.write(text);
  else if (readFileSync(path, { encoding: 'utf8', flag: 'a+' }) !== text) writeFileSync(path, text);
}
