import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, describe, expect, test } from 'vitest';
import { run } from '../../src/base/index.ts';

/** A model, and the size of its table of states as a power of two: filling a large one with zeroes takes longer than a small search. */
interface Model {
  readonly file: 'migration.pml' | 'libvirt.pml';
  readonly table: number;
  /** What the numbers in its stories stand for. */
  readonly names: { readonly [word: string]: readonly string[] };
}

const image = ["source's image", "source's overlay", "target's overlay", "target's image"];
const kinds = ['pivot', 'fold', 'fold-back'];
const QMP: Model = {
  file: 'migration.pml',
  table: 24,
  names: {
    step: ['snapshot', 'mirror', 'copy', 'pivot', 'fold', 'clean'],
    job: ['mirror', 'fold', 'fold-back'],
    record: kinds,
    image,
  },
};
const LIBVIRT: Model = {
  file: 'libvirt.pml',
  table: 20,
  names: { step: ['snapshot', 'copy', 'mirror', 'pivot', 'fold', 'clean'], record: ['', ...kinds], image },
};

const pathOf = ({ file }: Model): string => fileURLToPath(new URL(file, import.meta.url));
const folder = mkdtempSync(join(tmpdir(), 'blockferry-model-'));
afterAll(() => rmSync(folder, { recursive: true }));

interface Search {
  /** What spin found, in its words; nothing when every state was visited and all is well. */
  readonly violation: string | undefined;
  readonly states: number;
  /** Statements of the model that no run came to. */
  readonly unreached: readonly string[];
  /** What happened until the violation, as the model's own `printf` tells it. */
  readonly story: string;
}

/**
 * The whole state space. `safety`: assertions and deadlocks; `first`: the same, nearest states first, which comes to a bug sooner;
 * `progress`: nothing goes on for ever once nobody dies.
 */
async function search(
  model: Model,
  defines: readonly string[],
  kind: 'safety' | 'first' | 'progress' = 'safety',
): Promise<Search> {
  const cwd = mkdtempSync(join(folder, 'run-'));
  // tcc is small, there on every Debian, and compiles the verifier in a tenth of a second; spin would take gcc.
  const preprocessor = ['-Ptcc -E -xc', ...defines.map((name) => `-D${name}`)].join(' ');
  await run('spin', [preprocessor, '-a', pathOf(model)], { cwd });
  const how = { safety: ['-DSAFETY'], first: ['-DSAFETY', '-DBFS'], progress: ['-DNP', '-DNFAIR=3'] }[kind];
  await run('tcc', ['-w', ...how, '-o', 'pan', 'pan.c'], { cwd });
  const depth = kind === 'progress' ? 100_000 : 20_000;
  const options = [`-m${depth}`, `-w${model.table}`, ...(kind === 'progress' ? ['-l', '-f'] : [])];
  const { stdout } = await run('./pan', options, { cwd });
  const violation = /^pan:1: (.*) \(at depth \d+\)$/m.exec(stdout)?.[1];
  const states = Number(/(\d+) states, stored/.exec(stdout)?.[1]);
  // A search that was cut off has proved nothing.
  expect(/max search depth too small|out of memory|Search not completed/.test(stdout) && violation === undefined).toBe(
    false,
  );
  const unreached = [...stdout.matchAll(/\.pml:(\d+), state \d+, (".*")/g)].map(
    ([, line, what]) => `line ${line}: ${what}`,
  );
  const story = violation === undefined ? '' : await replay(model, preprocessor, cwd);
  rmSync(cwd, { recursive: true });
  return { violation, states, unreached, story };
}

async function replay(model: Model, preprocessor: string, cwd: string): Promise<string> {
  const { stdout } = await run('spin', [preprocessor, '-T', '-k', `${model.file}.trail`, pathOf(model)], { cwd });
  const lines = stdout.slice(0, stdout.indexOf('spin:')).trim().split('\n');
  return lines
    .map((line) =>
      line.replace(
        /\b(step|job|record|image) (\d)/,
        (_, word: string, index: string) => `${word} ${model.names[word]?.[Number(index)]}`,
      ),
    )
    .join('\n');
}

function named(model: Model, prefix: string): string[] {
  const names = readFileSync(pathOf(model), 'utf8').matchAll(new RegExp(`\\b${prefix}_[A-Z_]*[A-Z]\\b`, 'g'));
  return [...new Set([...names].map(([name]) => name))];
}

const README = readFileSync(new URL('README.md', import.meta.url), 'utf8');

/** No violation in any state, and no statement that no state comes to: `qemu` alone never ends by itself. */
async function holds(model: Model, atLeast: number): Promise<void> {
  const { violation, states, unreached, story } = await search(model, []);
  expect(violation, story).toBeUndefined();
  console.log(`${states} states`);
  expect(states).toBeGreaterThan(atLeast);
  expect(unreached.filter((what) => !what.endsWith('"-end-"'))).toEqual([]);
}

describe('the model of the pivot and of recovery', () => {
  test('holds, whatever dies and fails, and no statement of it is idle', () => holds(QMP, 1_000_000));

  test('comes to an end once nobody dies any more', async () => {
    const { violation, story } = await search(QMP, ['ONE_CASE'], 'progress');
    expect(violation, story).toBeUndefined();
  });
});

/** Bugs that only show as going on for ever. */
const ENDLESS = ['MUT_NEVER_TURN_BACK'];

describe('planted bugs are found', () => {
  test.each(named(QMP, 'MUT'))('%s', async (name) => {
    const endless = ENDLESS.includes(name);
    const { violation } = await (endless ? search(QMP, ['ONE_CASE', name], 'progress') : search(QMP, [name]));
    expect(violation).toMatch(endless ? /^non-progress cycle/ : /^(assertion violated|invalid end state)/);
    expect(README).toContain(name);
  });
});

describe('what README.md says is not shown is indeed not so', () => {
  test.each(named(QMP, 'GAP'))('%s', async (name) => {
    const { violation } = await search(QMP, [name]);
    expect(violation).toMatch(/^assertion violated/);
    expect(README).toContain(name);
  });

  test('and what would close one of them does', async () => {
    const { violation, story } = await search(QMP, ['GAP_KILLED_AFTER_A_FAILED_START', 'FIX_TRUST_ONLY_BEGUN_JOBS']);
    expect(violation, story).toBeUndefined();
  });
});

describe('the model of the swap of a VM of libvirt', () => {
  test('holds, whatever dies and fails, and no statement of it is idle', () => holds(LIBVIRT, 500_000));

  test.each([...named(LIBVIRT, 'MUT'), ...named(LIBVIRT, 'GAP')])('%s is found', async (name) => {
    const { violation } = await search(LIBVIRT, [name], 'first');
    expect(violation).toMatch(/^assertion violated/);
    expect(README).toContain(name);
  });

  test('what would close the gaps that can be closed closes them, all at once', async () => {
    const gaps = ['GAP_TAKE_BACK_BROKEN_OFF', 'GAP_WAKE_BESIDE_A_HELD_GROUP', 'GAP_PIVOT_UNRECORDED'];
    const { violation, story } = await search(LIBVIRT, [...gaps, ...named(LIBVIRT, 'FIX')]);
    expect(violation, story).toBeUndefined();
  });
});
