import { readFileSync, readdirSync } from 'node:fs';
import { expect, test } from 'vitest';
import { lintConfig, ROOMS } from './layers.ts';

// When one of these fails: node setup/layers.ts

test('.oxlintrc.json is what setup/layers.ts makes', () => {
  const text = readFileSync(new URL('../.oxlintrc.json', import.meta.url), 'utf8');
  expect(JSON.parse(text)).toEqual(lintConfig());
});

test('every folder of src/ is a room, so that no import goes unchecked', () => {
  const folders = readdirSync(new URL('../src', import.meta.url));
  expect(folders.filter((name) => !(ROOMS as readonly string[]).includes(name))).toEqual([]);
});
