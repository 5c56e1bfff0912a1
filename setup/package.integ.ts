// The package as somebody gets it who installs it: built, packed, unpacked into a project of its own, and used from there.
// What it depends on is linked from the checkout instead of being fetched again.
import { spawnSync } from 'node:child_process';
import {
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { readdir } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { Lab, LabLibvirtd } from '../lab/index.ts';
import { run } from '../src/base/index.ts';
import { buildPackage } from './build.ts';

const MiB = 2 ** 20;
const CHECKOUT = dirname(dirname(fileURLToPath(import.meta.url)));
const folder = mkdtempSync(join(tmpdir(), 'blockferry-package-'));
const consumer = join(folder, 'consumer');
const installed = join(consumer, 'node_modules', 'blockferry');

interface Manifest {
  readonly version: string;
  readonly bin: { readonly blockferry: string };
  readonly exports: Record<string, string | { readonly types: string; readonly default: string }>;
  readonly dependencies: Record<string, string>;
  readonly [key: string]: unknown;
}
const manifest = (path: string): Manifest => JSON.parse(readFileSync(join(path, 'package.json'), 'utf8')) as Manifest;

function link(name: string): void {
  const path = join(consumer, 'node_modules', name);
  mkdirSync(dirname(path), { recursive: true });
  symlinkSync(join(CHECKOUT, 'node_modules', name), path);
}

/** The programs of docs/library.md by the name that their first line gives. */
function examples(): Map<string, string> {
  const page = readFileSync(join(installed, 'docs', 'library.md'), 'utf8');
  const blocks = [...page.matchAll(/^```ts\n(\/\/ (\S+\.ts): .*\n[^]*?)^```$/gm)];
  return new Map(blocks.map(([, text = '', name = '']) => [name, text]));
}

/** Runs one of the programs, as a person would. */
async function example(name: string, ...args: string[]): Promise<string> {
  return (await run(process.execPath, [join(consumer, name), ...args], { cwd: folder })).stdout;
}

/** Runs the command by the link that npm makes. */
async function blockferry(...args: string[]): Promise<string> {
  const bin = join(consumer, 'node_modules', '.bin');
  return (
    await run('blockferry', args, { cwd: folder, env: { ...process.env, PATH: `${bin}:${process.env['PATH']}` } })
  ).stdout;
}

beforeAll(async () => {
  const built = join(folder, 'built');
  buildPackage(built);
  const { stdout } = await run('npm', ['pack', '--silent', '--pack-destination', folder], { cwd: built });
  mkdirSync(installed, { recursive: true });
  await run('tar', ['-xf', join(folder, stdout.trim()), '-C', installed, '--strip-components=1']);
  for (const name of [...Object.keys(manifest(installed).dependencies), '@types/node']) link(name);
  writeFileSync(join(consumer, 'package.json'), '{ "type": "module", "private": true }\n');
  mkdirSync(join(consumer, 'node_modules', '.bin'));
  symlinkSync(
    join(installed, manifest(installed).bin.blockferry),
    join(consumer, 'node_modules', '.bin', 'blockferry'),
  );
});

afterAll(() => rmSync(folder, { recursive: true, force: true }));

describe('what is packed', () => {
  test('a manifest without what only a checkout needs', () => {
    const { name, version, engines, exports, dependencies, ...rest } = manifest(installed);
    const checkout = manifest(CHECKOUT);
    expect({ name, version, engines }).toEqual({
      name: 'blockferry',
      version: checkout.version,
      engines: { node: '>=24' },
    });
    expect(Object.keys(exports)).toEqual(Object.keys(checkout.exports));
    expect(dependencies).toEqual(checkout.dependencies);
    expect(Object.keys(rest).toSorted()).toEqual([
      'bin',
      'description',
      'license',
      'peerDependencies',
      'peerDependenciesMeta',
      'type',
    ]);
  });

  test('JavaScript, declarations, the SQL, the documents, and nothing of ours', () => {
    const files = readdirSync(installed, { recursive: true, withFileTypes: true }).filter((entry) => entry.isFile());
    const paths = files.map(({ parentPath, name }) => join(parentPath, name).slice(installed.length + 1));
    const strange = paths.filter((path) => path.startsWith('lib/') && !/\.(js|d\.ts|sql)$/.test(path));
    expect(strange).toEqual([]);
    expect(paths).toEqual(expect.arrayContaining(['LICENSE', 'README.md', 'lib/journal/sql/000001.sql']));
    expect(paths.filter((path) => /\.(test|integ)\.|\/testing\//.test(path))).toEqual([]);
  });

  test('no declaration names a .ts file', () => {
    const wrong = readdirSync(join(installed, 'lib'), { recursive: true, encoding: 'utf8' })
      .filter((name) => name.endsWith('.d.ts'))
      .filter((name) => /['"]\.[^'"]*\.ts['"]/.test(readFileSync(join(installed, 'lib', name), 'utf8')));
    expect(wrong).toEqual([]);
  });
});

describe('the command', () => {
  test('can be executed, and says its version', async () => {
    expect(statSync(join(installed, manifest(installed).bin.blockferry)).mode & 0o111).toBe(0o111);
    expect(await blockferry('--version')).toBe(`${manifest(installed).version}\n`);
  });

  test('prints its help', async () => {
    expect(await blockferry('--help')).toContain('Usage: blockferry COMMAND [options]');
  });

  test('makes and reads a journal', async () => {
    const lines = (await blockferry('--state-dir', join(folder, 'state'), '--json', 'list')).trim().split('\n');
    expect(JSON.parse(lines.at(-1) ?? '')).toMatchObject({ type: 'result', outcome: 'done' });
  });
});

describe('the libraries', () => {
  test('every export can be imported', async () => {
    const names = Object.entries(manifest(installed).exports)
      .filter(([, target]) => typeof target === 'object')
      .map(([name]) => `blockferry${name.slice(1)}`);
    expect(names.length).toBeGreaterThan(5);
    const program = `for (const name of ${JSON.stringify(names)}) console.log(name, Object.keys(await import(name)).length);`;
    const { stdout } = await run(process.execPath, ['--input-type=module', '-e', program], { cwd: consumer });
    for (const name of names) expect(stdout).toMatch(new RegExp(`^${name} [1-9]`, 'm'));
  });

  test('the programs of docs/library.md have no type errors, in a project with no more than lib es2024', () => {
    const all = Object.keys(manifest(installed).exports).filter((name) => name !== './package.json');
    const imports = all.map((name, n) => `import * as e${n} from 'blockferry${name.slice(1)}';\nconsole.log(e${n});\n`);
    writeFileSync(join(consumer, 'every-export.ts'), imports.join(''));
    const programs = examples();
    expect(programs.size).toBe(all.length);
    for (const [name, text] of programs) writeFileSync(join(consumer, name), text);
    const compilerOptions = {
      strict: true,
      noEmit: true,
      skipLibCheck: false,
      exactOptionalPropertyTypes: true,
      target: 'es2024',
      lib: ['es2024'],
      module: 'nodenext',
      types: ['node'],
    };
    writeFileSync(join(consumer, 'tsconfig.json'), JSON.stringify({ compilerOptions, include: ['*.ts'] }));
    const { status, stdout } = spawnSync('tsc', ['-p', consumer], { encoding: 'utf8' });
    expect([status, stdout]).toEqual([0, '']);
  });

  test('the programs of docs/library.md do what they say, a migration included', async () => {
    for (const [name, text] of examples()) writeFileSync(join(consumer, name), text);
    await using lab = await Lab.open({ name: 'package' });
    const source = await lab.storage('source');
    const target = await lab.storage('target');
    const path = join(source, 'a.qcow2');
    await lab.image({ path, format: 'qcow2', size: 16 * MiB, fill: { bytes: 4 * MiB, seed: 1 } });
    const vm = await lab.startVm({ name: 'example', disks: [{ id: 'a', path, format: 'qcow2' }], boot: false });
    const state = join(await lab.storage('state'), 'journal');

    expect(await example('disks.ts', vm.qmpPath)).toBe(`a ${16 * MiB} ${path}\n0 block jobs\n`);
    expect(await example('pause.ts', vm.qmpPath)).toBe('STOP\nRESUME\n');
    const moved = await example('move.ts', vm.qmpPath, target, state);
    expect(moved).toMatch(/^pivot: guest I\/O held \d+\.\d ms$/m);
    expect(moved).toMatch(/^fold: guest I\/O held \d+\.\d ms$/m);
    expect(moved).toContain('\ndone: a of example: moved; the guest runs on the target\n');
    expect([await readdir(source), await readdir(target)]).toEqual([[], ['a.qcow2']]);
    expect(await example('last.ts', state)).toMatch(/^\w{6} example done\nstarted /);
    await vm.kill();
    const copied = await example('copy.ts', join(target, 'a.qcow2'), join(source, 'copy.qcow2'));
    expect(copied).toMatch(new RegExp(`^qcow2, ${16 * MiB} bytes for the guest: [0-9a-f]{64}\\n$`));
    const uri = (await LabLibvirtd.start(lab)).uri('test');
    const domains = await example('domains.ts', uri);
    expect(domains).toBe('test 6695eb01-f6a4-8304-79aa-97f2502e193f: event 3\n42 Domain not found\n');
    expect(await example('snapshots.ts', uri, 'test', 's1')).toBe('0 "Domain snapshot s1 created\\n"\n0 "s1\\n\\n"\n');
    expect(await example('mirrors.ts')).toContain("<mirror file='/new/vda.overlay'/>");
  });
});
