import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, describe, expect, test } from 'vitest';
import { run } from '../../src/base/index.ts';

const MODEL = fileURLToPath(new URL('migration.pml', import.meta.url));
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

/** The whole state space. `safety`: assertions and deadlocks; `progress`: nothing goes on for ever once nobody dies. */
async function search(defines: readonly string[], kind: 'safety' | 'progress' = 'safety'): Promise<Search> {
  const cwd = mkdtempSync(join(folder, 'run-'));
  // tcc is small, there on every Debian, and compiles the verifier in a tenth of a second; spin would take gcc.
  const preprocessor = ['-Ptcc -E -xc', ...defines.map((name) => `-D${name}`)].join(' ');
  await run('spin', [preprocessor, '-a', MODEL], { cwd });
  const how = kind === 'safety' ? ['-DSAFETY'] : ['-DNP', '-DNFAIR=3'];
  await run('tcc', ['-w', ...how, '-o', 'pan', 'pan.c'], { cwd });
  const depth = kind === 'safety' ? 20_000 : 100_000;
  const { stdout } = await run('./pan', [`-m${depth}`, '-w24', ...(kind === 'safety' ? [] : ['-l', '-f'])], { cwd });
  const violation = /^pan:1: (.*) \(at depth \d+\)$/m.exec(stdout)?.[1];
  const states = Number(/(\d+) states, stored/.exec(stdout)?.[1]);
  // A search that was cut off has proved nothing.
  expect(/max search depth too small|out of memory|Search not completed/.test(stdout) && violation === undefined).toBe(
    false,
  );
  const unreached = [...stdout.matchAll(/migration\.pml:(\d+), state \d+, (".*")/g)].map(
    ([, line, what]) => `line ${line}: ${what}`,
  );
  const story = violation === undefined ? '' : await replay(preprocessor, cwd);
  rmSync(cwd, { recursive: true });
  return { violation, states, unreached, story };
}

const NAMES: { readonly [word: string]: readonly string[] } = {
  step: ['snapshot', 'mirror', 'copy', 'pivot', 'fold', 'clean'],
  job: ['mirror', 'fold', 'fold-back'],
  record: ['pivot', 'fold', 'fold-back'],
  image: ["source's image", "source's overlay", "target's overlay", "target's image"],
};

async function replay(preprocessor: string, cwd: string): Promise<string> {
  const { stdout } = await run('spin', [preprocessor, '-T', '-k', 'migration.pml.trail', MODEL], { cwd });
  const lines = stdout.slice(0, stdout.indexOf('spin:')).trim().split('\n');
  return lines
    .map((line) =>
      line.replace(
        /\b(step|job|record|image) (\d)/,
        (_, word: string, index: string) => `${word} ${NAMES[word]?.[Number(index)]}`,
      ),
    )
    .join('\n');
}

function named(prefix: string): string[] {
  const names = readFileSync(MODEL, 'utf8').matchAll(new RegExp(`\\b${prefix}_[A-Z_]*[A-Z]\\b`, 'g'));
  return [...new Set([...names].map(([name]) => name))];
}

describe('the model of the pivot and of recovery', () => {
  test('holds, whatever dies and fails, and no statement of it is idle', async () => {
    const { violation, states, unreached, story } = await search([]);
    expect(violation, story).toBeUndefined();
    console.log(`${states} states`);
    expect(states).toBeGreaterThan(1_000_000);
    // `qemu` never ends by itself.
    expect(unreached.filter((what) => !what.endsWith('"-end-"'))).toEqual([]);
  });

  test('comes to an end once nobody dies any more', async () => {
    const { violation, story } = await search(['ONE_CASE'], 'progress');
    expect(violation, story).toBeUndefined();
  });
});

/** Bugs that only show as going on for ever. */
const ENDLESS = ['MUT_NEVER_TURN_BACK'];

describe('planted bugs are found', () => {
  test.each(named('MUT'))('%s', async (name) => {
    const endless = ENDLESS.includes(name);
    const { violation } = await (endless ? search(['ONE_CASE', name], 'progress') : search([name]));
    expect(violation).toMatch(endless ? /^non-progress cycle/ : /^(assertion violated|invalid end state)/);
  });
});

describe('what README.md says is not shown is indeed not so', () => {
  test.each(named('GAP'))('%s', async (name) => {
    const { violation } = await search([name]);
    expect(violation).toMatch(/^assertion violated/);
    expect(readFileSync(new URL('README.md', import.meta.url), 'utf8')).toContain(name);
  });

  test('and what would close one of them does', async () => {
    const { violation, story } = await search(['GAP_KILLED_AFTER_A_FAILED_START', 'FIX_TRUST_ONLY_BEGUN_JOBS']);
    expect(violation, story).toBeUndefined();
  });
});
