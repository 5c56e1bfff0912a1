import { readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { API_PAGES, apiDocs } from './api-docs.ts';

// When this fails: node setup/generate-api-docs.ts
test.each(Object.entries(API_PAGES))('docs/api/%s.md is current', (room, titles) => {
  expect(readFileSync(new URL(`../docs/api/${room}.md`, import.meta.url), 'utf8')).toBe(apiDocs(room, titles));
});

describe('the page', () => {
  const page = apiDocs('domainsnapshot', API_PAGES['domainsnapshot'] ?? {});

  test('has the signature of a function, and not its body', () => {
    expect(page).toContain(
      'function parseSnapshot(xml: string | Uint8Array, options: ParseOptions = {}): ParsedSnapshot;\n```',
    );
  });

  test('has the members of a class that are not private', () => {
    const part = page.slice(page.indexOf('### SnapshotSchema'));
    expect(part).toContain('problems(xml: string | Uint8Array): readonly string[];');
    expect(part.slice(0, part.indexOf('### ', 4))).not.toMatch(/#\w/);
  });

  test('says of every export what it is', () => {
    const silent = page.split(/^### /m).filter((part) => /^\w+\n\n```/.test(part));
    expect(silent.map((part) => part.split('\n')[0])).toEqual([]);
  });
});
