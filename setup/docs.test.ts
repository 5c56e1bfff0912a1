import { readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { ERRORS } from '../src/base/index.ts';
import { cliDocs } from './cli-docs.ts';
import { statesDocs } from './states-docs.ts';
import { errorSections, refreshErrorDocs } from './error-docs.ts';

function page(name: string): string {
  return readFileSync(new URL(`../docs/${name}`, import.meta.url), 'utf8');
}

// When one of these fails: node setup/generate-cli-docs.ts, and write the prose of a new code.

test('docs/states.md is current (node setup/generate-states-docs.ts)', () => {
  expect(page('states.md')).toBe(statesDocs());
});

test('docs/cli.md is current', () => {
  expect(page('cli.md')).toBe(cliDocs());
});

describe('docs/errors.md', () => {
  const sections = errorSections(page('errors.md'));

  test('has a section for each code, and each section has a code', () => {
    expect(sections.map(({ title }) => title)).toEqual(Object.keys(ERRORS));
  });

  test('has the messages and exit statuses of the registry', () => {
    expect(page('errors.md')).toBe(refreshErrorDocs(page('errors.md')));
  });

  test('says of each when it happens, what state the guest is in, and what to do', () => {
    const silent = sections.filter(({ prose }) => prose.split(/\s+/).length < 12);
    expect(silent.map(({ title }) => title)).toEqual([]);
  });
});

describe('refreshErrorDocs', () => {
  test('keeps the prose, and takes the rest from the registry', () => {
    const old =
      '# Errors\n\nIntro.\n\n## GONE\n\nx\n\n## ABORTED\n\n> old text\n\nExit status 9 (old).\n\nProse > here.\n\nMore.\n';
    const refreshed = refreshErrorDocs(old);
    expect(refreshed).toMatch(
      /^# Errors\n\nIntro\.\n\n## INTERNAL\n\n> blockferry has a bug: {what}\n\nExit status 1 \(failed\)\.\n\n/,
    );
    expect(refreshed).toContain(
      '## ABORTED\n\n> {what} was aborted\n\nExit status 1 (failed).\n\nProse > here.\n\nMore.\n',
    );
    expect(refreshed).not.toContain('## GONE');
    expect(refreshErrorDocs(refreshed)).toBe(refreshed);
  });
});
