import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { DEFAULT_CORPUS } from './default-corpus.ts';
import { lineDiff } from './line-diff.ts';
import { runConformance } from './report.ts';

const present = existsSync(join(DEFAULT_CORPUS, 'cases.json'));

describe('conformance', () => {
  test.skipIf(!present)(`the corpus (${present ? 'found' : 'not there: nothing was run'})`, () => {
    const report = runConformance(DEFAULT_CORPUS);
    expect(report.lines.filter((line) => line.startsWith('FAILED'))).toEqual([]);
    expect(report.passed).toBeGreaterThan(0);
  });

  test('a diff shows only the lines that differ', () => {
    expect(lineDiff('a\nb\nc', 'a\nx\nc\nd')).toBe('- b\n+ x\n+ d');
    expect(lineDiff('a', 'a')).toBe('');
  });
});
