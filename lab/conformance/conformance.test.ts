import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { DEFAULT_CORPUS } from './default-corpus.ts';
import { lineDiff } from './line-diff.ts';
import { runConformance } from './report.ts';

const present = existsSync(join(DEFAULT_CORPUS, 'cases.json'));

describe('conformance', () => {
  test.skipIf(!present)(`the corpus (${present ? 'found' : 'not there: nothing was run'})`, async () => {
    const report = await runConformance(DEFAULT_CORPUS);
    expect(report.lines.filter((line) => line.startsWith('FAILED'))).toEqual([]);
    expect(report.passed).toBeGreaterThan(0);
  });

  test('says of a folder what passed, what failed and how, and what was skipped and why', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'corpus-'));
    try {
      const out = '<domainsnapshot>\n  <name>a</name>\n</domainsnapshot>\n';
      writeFileSync(join(folder, 'in.xml'), '<domainsnapshot><name>a</name></domainsnapshot>');
      writeFileSync(join(folder, 'out.xml'), out);
      writeFileSync(join(folder, 'wrong.xml'), out.replace('>a<', '>b<'));
      const common = { kind: 'in-out', profile: 'modern', input: 'in.xml', expected: 'out.xml', creationTime: 0 };
      const error = { code: 'VIR_ERR_XML_ERROR', message: 'XML error: x', match: 'code' };
      const cases = [
        { ...common, id: 'good' },
        { ...common, id: 'bad', expected: 'wrong.xml' },
        { ...common, id: 'by choice', expected: 'wrong.xml', normative: false },
        { ...common, id: 'newer', expected: 'wrong.xml', byVersion: { '11.3.0': 'out.xml' } },
        { ...common, id: 'old', versions: ['9.0.0'] },
        { ...common, id: 'accepted', kind: 'parse-error', expected: error },
        { ...common, id: 'gone', input: 'gone.xml' },
        { id: 'v', kind: 'virsh', profile: 'modern' },
      ];
      writeFileSync(join(folder, 'cases.json'), JSON.stringify(cases));
      const { lines } = await runConformance(folder);
      expect(lines.slice(0, 2)).toEqual(['FAILED in-out bad', '    -   <name>b</name>\n    +   <name>a</name>']);
      expect(lines.filter((line) => line.startsWith('FAILED'))).toEqual([
        'FAILED in-out bad',
        'FAILED parse-error accepted',
        'FAILED in-out gone',
      ]);
      expect(lines.slice(-4)).toEqual([
        'in-out: 2 passed, 2 failed, 1 skipped (not normative, and answered differently by choice), 1 skipped (only true for libvirt 9.0.0, and this is 11.3.0)',
        'parse-error: 0 passed, 1 failed, 0 skipped',
        'virsh: 0 passed, 0 failed, 1 skipped (needs a hypervisor driver)',
        '2 passed, 3 failed, 3 skipped',
      ]);
    } finally {
      rmSync(folder, { recursive: true });
    }
  });

  test('a diff shows only the lines that differ', () => {
    expect(lineDiff('a\nb\nc', 'a\nx\nc\nd')).toBe('- b\n+ x\n+ d');
    expect(lineDiff('a', 'a')).toBe('');
  });
});
