import { existsSync, readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import * as domainsnapshot from '../src/domainsnapshot/index.ts';

// The examples of docs/domainsnapshot.md: each block of TypeScript is followed by what it gives or throws.

const PAGE = readFileSync(new URL('../docs/domainsnapshot.md', import.meta.url), 'utf8');

const EXAMPLE = /```ts\n([\s\S]*?)```\n\n(gives|throws)\n\n```\w+\n([\s\S]*?)```/g;

/** Runs an example, which has no types in it: its imports are the room's exports, and its last statement is its value. */
function evaluate(code: string): unknown {
  const names = /import \{ (.*) \} from/.exec(code)?.[1] ?? '';
  const body = code.replace(/import .*\n/, '').trim();
  const last = body.search(/^(?!const | |\)|\}|\]|$).*[\s\S]*$/m);
  const script = `${body.slice(0, last)}\nreturn ${body.slice(last)}`;
  // Our own page, as a function of the room's exports.
  // oxlint-disable-next-line no-implied-eval, typescript/no-implied-eval
  const run = new Function('room', `const { ${names} } = room;\n${script}`) as (room: object) => unknown;
  return run(domainsnapshot);
}

const examples = [...PAGE.matchAll(EXAMPLE)].map(([, code = '', verb = '', expected = '']) => ({
  code,
  verb,
  expected,
}));

test('there are examples', () => {
  expect(examples.length).toBe((PAGE.match(/```ts\n/g) ?? []).length);
  expect(examples.length).toBeGreaterThan(5);
});

test.for(examples)('example %#', ({ code, verb, expected }, { skip }) => {
  const needsSchema = code.includes('loadSnapshotSchema');
  skip(needsSchema && !existsSync(domainsnapshot.SCHEMA_FOLDER), "libvirt's schemas are not installed");
  if (verb === 'gives') {
    expect(String(evaluate(code)).trimEnd()).toBe(expected.trimEnd());
    return;
  }
  try {
    evaluate(code);
  } catch (error) {
    expect(error).toBeInstanceOf(domainsnapshot.DomainSnapshotError);
    expect(error).toMatchObject(JSON.parse(expected) as object);
    return;
  }
  throw new Error('nothing was thrown');
});

test('the table of errors has every code, with its number', () => {
  for (const [code, { number }] of Object.entries(domainsnapshot.LIBVIRT_CODES)) {
    expect(PAGE).toContain(`| \`${code}\` | ${number} |`);
  }
});
