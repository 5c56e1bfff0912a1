/**
 * `npm run build`: makes dist/, which is the package as it is published: `npm publish ./dist`. TypeScript becomes plain
 * JavaScript with declarations (Node strips no types below node_modules), and the manifest loses what only a checkout needs.
 */
import { spawnSync } from 'node:child_process';
import { chmodSync, cpSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const ROOT = dirname(dirname(fileURLToPath(import.meta.url)));

/** What the checkout's package.json has and the published one must not: the pinned Node and the tools are ours alone. */
const CHECKOUT_ONLY: readonly string[] = ['private', 'scripts', 'devDependencies', 'optionalDependencies'];

/** The manifest of the package: the checkout's, with paths that begin in dist/ instead of beside it. */
export function publishedManifest(checkout: object): object {
  const kept = Object.fromEntries(Object.entries(checkout).filter(([key]) => !CHECKOUT_ONLY.includes(key)));
  return JSON.parse(JSON.stringify(kept).replaceAll('"./dist/', '"./')) as object;
}

/**
 * Declarations name their neighbours as the sources do, with `.ts`: tsc rewrites the names in JavaScript only. TypeScript
 * finds them all the same, other readers of declarations need not.
 */
export function publishedDeclaration(text: string): string {
  return text.replaceAll(/(\b(?:from|import\() ?['"]\.{1,2}\/[^'"]+)\.ts(['"])/g, '$1.js$2');
}

/** Builds the package in this folder, which is emptied first. */
export function buildPackage(out: string): void {
  rmSync(out, { recursive: true, force: true });
  const lib = join(out, 'lib');
  const { status, error } = spawnSync('tsc', ['-p', 'tsconfig.build.json', '--outDir', lib], {
    cwd: ROOT,
    stdio: 'inherit',
  });
  if (error) throw error;
  if (status !== 0) throw new Error(`tsc ended with ${String(status)}`);
  for (const name of readdirSync(lib, { recursive: true, encoding: 'utf8' })) {
    if (!name.endsWith('.d.ts')) continue;
    const path = join(lib, name);
    writeFileSync(path, publishedDeclaration(readFileSync(path, 'utf8')));
  }
  cpSync(join(ROOT, 'src', 'journal', 'sql'), join(lib, 'journal', 'sql'), { recursive: true });
  for (const name of ['LICENSE', 'README.md', 'ARCHITECTURE.md', 'docs'])
    cpSync(join(ROOT, name), join(out, name), { recursive: true, filter: (path) => !path.endsWith('.ts') });
  const manifest = publishedManifest(JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8')) as object);
  writeFileSync(join(out, 'package.json'), `${JSON.stringify(manifest, null, 2)}\n`);
  for (const path of Object.values((manifest as { bin: Record<string, string> }).bin))
    chmodSync(join(out, path), 0o755);
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  buildPackage(join(ROOT, 'dist'));
  console.log('built: dist/ (try it: npm pack ./dist)');
}
