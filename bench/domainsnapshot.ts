/**
 * How fast, and in how much memory, `<domainsnapshot>` documents are read and written. Speed is counted in CPU time, which other
 * work on the machine changes least.
 *
 *   node bench/domainsnapshot.ts [FOLDER]           speed, beside xmllint and libvirt, over the documents of a corpus
 *   node bench/domainsnapshot.ts --memory [COUNT]   memory over so many parses (default 1,000,000)
 *
 * Without a corpus the speed is that of one document of our own.
 */
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { run, type RunOptions } from '../src/base/index.ts';
import { DEFAULT_CORPUS } from '../lab/conformance/default-corpus.ts';
import { readCases } from '../lab/conformance/corpus.ts';
import {
  DomainSnapshotError,
  EMPTY_LIST,
  formatSnapshot,
  loadSnapshotSchema,
  type ParseFlag,
  parseSnapshot,
  redefineSnapshot,
} from '../src/domainsnapshot/index.ts';

interface Sample {
  readonly path?: string;
  readonly xml: Uint8Array;
  readonly flags: readonly ParseFlag[];
}

const OWN_DOCUMENT =
  "<domainsnapshot><name>s</name><disks><disk name='vda'><source file='/a'/><mirror file='/m'/></disk></disks></domainsnapshot>";

/** The documents of a corpus that are read and written: its round trips and its inputs with another output. */
function samples(folder: string): readonly Sample[] {
  if (!existsSync(join(folder, 'cases.json'))) return [{ xml: Buffer.from(OWN_DOCUMENT), flags: ['MIRROR'] }];
  return readCases(folder)
    .filter((each) => each.kind !== 'virsh')
    .filter(({ kind }) => kind === 'roundtrip' || kind === 'in-out')
    .filter(({ profile }) => profile.startsWith('modern'))
    .map(({ input = '', flags = [] }) => ({
      path: join(folder, input),
      xml: readFileSync(join(folder, input)),
      flags,
    }));
}

function handle({ xml, flags }: Sample): void {
  formatSnapshot(parseSnapshot(xml, { flags, doctype: 'internal' }).snapshot, { flags: ['SECURE'] });
}

/** CPU seconds that an action of ours takes, all threads of this process together. */
function cpuSecondsOf(action: () => void): number {
  const before = process.cpuUsage();
  action();
  const { user, system } = process.cpuUsage(before);
  return (user + system) / 1e6;
}

/** CPU seconds that a program takes, its start included. */
async function cpuSecondsOfProgram(
  program: string,
  args: readonly string[],
  options: RunOptions = {},
): Promise<number> {
  const timed = ['-c', 'TIMEFORMAT="%U %S"; time "$0" "$@"', program, ...args];
  const { stderr } = await run('bash', timed, { ...options, env: { ...process.env, LC_ALL: 'C' } });
  const [user = NaN, system = NaN] = (stderr.trim().split('\n').at(-1) ?? '').split(' ').map(Number);
  return user + system;
}

/** Documents per CPU second, of so many rounds over the samples after ten to warm up. */
function rate(all: readonly Sample[], action: (sample: Sample) => void, rounds = 100): number {
  for (let round = 0; round < 10; round += 1) for (const sample of all) action(sample);
  const seconds = cpuSecondsOf(() => {
    for (let round = 0; round < rounds; round += 1) for (const sample of all) action(sample);
  });
  return (rounds * all.length) / seconds;
}

/** Documents per CPU second of one `xmllint --noout` over the same files. */
async function xmllintRate(all: readonly Sample[]): Promise<number | undefined> {
  const paths = all.flatMap(({ path }) => (path === undefined ? [] : [path]));
  if (paths.length === 0) return undefined;
  const list = Array.from({ length: 40 }, () => paths).flat();
  return list.length / (await cpuSecondsOfProgram('xmllint', ['--noout', ...list]));
}

const UUID = '6695eb01-f6a4-8304-79aa-97f2502e193f';

/**
 * Documents per CPU second that libvirt's test driver redefines, in one virsh, and that we do: parse, check and align, with
 * a full domain in each. The time of a virsh that does nothing is taken off.
 */
async function redefineRates(): Promise<{ readonly libvirt: number; readonly ours: number }> {
  const folder = mkdtempSync(join(tmpdir(), 'bench-'));
  try {
    const { stdout: domain } = await run('virsh', ['-c', 'test:///default', 'dumpxml test']);
    const count = 2000;
    const documents = Array.from(
      { length: count },
      (_, n) =>
        `<domainsnapshot><name>s${n}</name><state>running</state><creationTime>${n + 1}</creationTime>${domain.trim()}</domainsnapshot>`,
    );
    documents.forEach((xml, n) => writeFileSync(join(folder, `${n}.xml`), xml));
    const script = documents.map((_, n) => `snapshot-create test ${n}.xml --redefine\n`).join('');
    const virsh = (input: string): Promise<number> =>
      cpuSecondsOfProgram('virsh', ['-q', '-c', 'test:///default'], { input, cwd: folder });
    const seconds = (await virsh(script)) - (await virsh(''));
    const ours = cpuSecondsOf(() => {
      for (const xml of documents) {
        const { snapshot } = parseSnapshot(xml, { flags: ['REDEFINE'] });
        redefineSnapshot(EMPTY_LIST, snapshot, { domainUuid: UUID, files: { isRegularFile: () => false } });
      }
    });
    return { libvirt: count / seconds, ours: count / ours };
  } finally {
    rmSync(folder, { recursive: true });
  }
}

function line(what: string, perSecond: number, of?: number): void {
  const ratio = of === undefined ? '' : `   ours is ${(of / perSecond).toFixed(2)} times that`;
  console.log(`${what.padEnd(58)} ${perSecond.toFixed(0).padStart(8)} documents per CPU second${ratio}`);
}

async function speed(folder: string): Promise<void> {
  const all = samples(folder);
  const bytes = all.reduce((sum, { xml }) => sum + xml.length, 0) / all.length;
  console.log(`${all.length} documents, ${bytes.toFixed(0)} bytes on average`);
  const ours = rate(all, handle);
  line('parse and format', ours);
  line(
    'parse',
    rate(all, ({ xml, flags }) => void parseSnapshot(xml, { flags, doctype: 'internal' })),
  );
  const lint = await xmllintRate(all);
  if (lint !== undefined) line('xmllint --noout, one process (well-formedness only)', lint, ours);
  const redefine = await redefineRates();
  line('redefine with a full domain, ours (parse, check, align)', redefine.ours);
  line('redefine with a full domain, libvirt in one virsh', redefine.libvirt, redefine.ours);
  const started = performance.now();
  const schema = loadSnapshotSchema();
  console.log(`loading the schema: ${(performance.now() - started).toFixed(0)} ms, once`);
  line(
    'validate against the schema',
    rate(all, ({ xml }) => void schema.problems(xml), 20),
  );
}

function mebibytes(bytes: number): string {
  return `${(bytes / 2 ** 20).toFixed(0)} MiB`;
}

/** Parses documents, good and bad, in one synchronous loop, and prints what memory is in use after a collection. */
function memory(count: number): void {
  setFlagsFromString('--expose-gc');
  const collect = runInNewContext('gc') as () => void;
  const all = samples(DEFAULT_CORPUS);
  const bad = Buffer.from('<domainsnapshot><name>');
  console.log('   parses        rss  js heap   external');
  for (let done = 0; done <= count; done += 1) {
    if (done % (count / 10) === 0) {
      collect();
      const { rss, heapUsed, external } = process.memoryUsage();
      console.log(
        `${String(done).padStart(9)} ${mebibytes(rss).padStart(10)} ${mebibytes(heapUsed).padStart(8)} ${mebibytes(external).padStart(10)}`,
      );
    }
    const sample = all[done % all.length];
    if (sample) handle(sample);
    if (done % 10 !== 0) continue;
    try {
      parseSnapshot(bad);
    } catch (error) {
      if (!(error instanceof DomainSnapshotError)) throw error;
    }
  }
}

const { values, positionals } = parseArgs({ options: { memory: { type: 'boolean' } }, allowPositionals: true });
if (values.memory === true) memory(Number(positionals[0] ?? 1_000_000));
else await speed(positionals[0] ?? DEFAULT_CORPUS);
